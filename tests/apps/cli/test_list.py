import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import mmgen.paradigms
from mmgen.apps.cli.main import main
from mmgen.core.masks import CATALOGUE
from mmgen.core.modality import modality_names
from mmgen.evaluation.card import KINDS
from mmgen.evaluation.recipe_summary import SYSTEM, summarise_recipe
from mmgen.model.backbone.transformer import PRESETS
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


def test_json_has_an_entry_for_every_recipe_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    configs = [path for kind in KINDS for path in recipes_root().glob(f"{kind}/*/config.yaml")]
    assert [entry["name"] for entry in entries] == sorted(path.parent.name for path in configs)
    for entry in entries:
        assert all(name in modality_names() for name in entry["modality"]) and entry["modality"], entry
        assert entry["card"] in ("measured", "unmeasured", "stale")
        assert entry["tokenizer"]
        assert bool(entry["paradigm"]) == (entry["kind"] == "experiment")
    assert main(["list", "masks", "--json"]) == 2


def test_json_gives_the_masks_and_paradigms_that_recipes_make() -> None:
    """Defaults are read from source text; here the paradigms are made."""
    for config in (recipes_root() / "experiments").glob("*/config.yaml"):
        model, summary = yaml.safe_load(config.read_text())["model"]["init_args"], summarise_recipe(config)
        parts = [model["paradigm"]] if "paradigm" in model else [each["paradigm"] for each in model["members"].values()]
        members = [each for part in map(build, parts) for each in getattr(part, "members", {"": part}).values()]
        named = {each.mask.name.partition(" & ")[0] for each in members}  # a window comes on top
        assert set(summary["mask"]) == named, config
        assert set(summary["paradigm"]) == {type(each).__name__ for each in members}, config


def build(part: Any) -> Any:
    """What a class path and its arguments make."""
    if not isinstance(part, dict):
        return part
    arguments = {name: build(value) for name, value in part.get("init_args", part).items()}
    if "class_path" not in part:
        return arguments
    kinds = vars(mmgen.paradigms) | vars(mmgen.paradigms.splits)
    return kinds[part["class_path"].rsplit(".", 1)[-1]](**arguments)


def test_every_recipe_says_whose_system_it_is() -> None:
    for config in (path for kind in KINDS for path in recipes_root().glob(f"{kind}/*/config.yaml")):
        (system,) = SYSTEM.findall(config.read_text())
        assert system == "none" or (re.search(r"\b(19|20)\d{2}\b", system) and len(system) < 80), config


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


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]], ids=" ".join)
def test_recipes_are_listed_at_once(arguments: list[str]) -> None:
    """CPU seconds, since other tests may run beside this one."""
    before = os.times()
    program = f"import sys; from mmgen.apps.cli.main import main; main({arguments}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 1.5
