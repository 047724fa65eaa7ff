import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmgen.apps.cli.main import main
from mmgen.core.masks import CATALOGUE
from mmgen.model.backbone.presets import PRESETS
from mmgen.store.recipes import recipes_root


def listed(capsys: pytest.CaptureFixture[str], *what: str) -> list[list[str]]:
    """The indented lines, as name and text."""
    assert main(["list", *what]) == 0
    return [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]


def test_every_recipe_with_its_first_comment(capsys: pytest.CaptureFixture[str]) -> None:
    recipes = {str(path.parent.relative_to(recipes_root())): path for path in recipes_root().glob("*s/*/config.yaml")}
    found = listed(capsys)
    assert {name for name, *_ in found} == {
        name for name in recipes if name.startswith(("tokenizers/", "experiments/"))
    }
    for name, text in found:
        assert text in recipes[name].read_text().splitlines()[0]


@pytest.mark.parametrize("kind", ["tokenizers", "experiments"])
def test_one_kind_of_recipe(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for name, *_ in listed(capsys, kind)]
    assert names == sorted(names)
    assert names
    assert all(name.startswith(f"{kind}/") for name in names)


def test_recipes_are_read_from_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmgen.apps.cli.list.recipes_root", lambda: tmp_path)
    for name, head in {"b": "# Second: it is.", "a": "# tokenizers/a/config.yaml: The first.", "c": "model:"}.items():
        (tmp_path / "tokenizers" / name).mkdir(parents=True)
        (tmp_path / "tokenizers" / name / "config.yaml").write_text(f"{head}\nx: 1\n")
    expected = [["tokenizers/a", "The first."], ["tokenizers/b", "Second: it is."], ["tokenizers/c"]]
    assert listed(capsys, "tokenizers") == expected
    assert main(["list", "experiments"]) == 0
    assert f"experiments: none in {tmp_path}" in capsys.readouterr().out


def test_every_mask_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    found = dict(listed(capsys, "masks"))
    assert found.keys() == CATALOGUE.keys()
    assert all(CATALOGUE[name].source in text and CATALOGUE[name].sentence in text for name, text in found.items())


def test_every_paradigm_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"Autoregressive", "Masked", "BlockDiffusion", "Mixture"} <= {
        name for name, *_ in listed(capsys, "paradigms")
    }
    assert [name for name, *_ in listed(capsys, "backbones")] == list(PRESETS)


def test_an_unknown_kind_names_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tokenisers"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "tokenizers" in told


def test_recipes_are_listed_at_once() -> None:
    """CPU seconds, since other tests may run beside this one."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", "from mmgen.apps.cli.main import main; main(['list'])"], check=True, capture_output=True
    )
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 1.5
