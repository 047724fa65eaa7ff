"""What a recipe takes from the environment is used in training, and stays a reference in the folder of the run."""

from pathlib import Path

import pytest
import yaml

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.store.environment import find_references, require_no_references, restore_references
from tests.training.fits import QUICK, TOKENIZER, fake

SECRET = "a-very-secret-name"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NAME": SECRET, "COUNT": "4", "EMPTY": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MISSING", raising=False)


def test_values_become_references_again() -> None:
    recipe = {
        "data": {"n": "${oc.env:COUNT}", "list": ["${oc.env:NAME}", "b"], "absent": "${oc.env:MISSING,7}"},
        "trainer": {"logger": {"name": "${data.list.0}", "place": "runs/${oc.env:NAME}"}},
    }
    options = ["--data.x", "${oc.env:NAME}", "--data.y={a: '${oc.env:COUNT}'}", "--data.z=4", "--data.brace={"]
    references = find_references([recipe], options)
    assert len(references) == 6
    resolved = {
        "data": {"n": 4, "list": [SECRET, "b"], "absent": 7, "x": SECRET, "y": {"a": 4}, "z": 4, "brace": "{"},
        "trainer": {"logger": {"name": SECRET, "place": f"runs/{SECRET}"}, "max_steps": 4},
    }
    restored = yaml.safe_load(restore_references(yaml.safe_dump(resolved), references, ""))
    assert restored == {
        "data": {
            "n": "${oc.env:COUNT}", "list": ["${oc.env:NAME}", "b"], "absent": "${oc.env:MISSING,7}", "z": 4,
            "x": "${oc.env:NAME}", "y": {"a": "${oc.env:COUNT}"}, "brace": "{",
        },
        "trainer": {"logger": {"name": "${oc.env:NAME}", "place": "runs/${oc.env:NAME}"}, "max_steps": 4},
    }  # fmt: skip


def test_a_config_without_references_stays_letter_by_letter() -> None:
    text = "b: 1\na: 2  # with a remark\n"
    assert restore_references(text, find_references([{"b": 1}], ["--a", "2"]), "") == text


@pytest.mark.parametrize("key", ["model.init_args.backbone.dim", "model.tokenizer.width", "model.members.x.paradigm"])
def test_what_rebuilding_reads_must_be_said(key: str) -> None:
    with pytest.raises(UserError, match=f"{key} is .*write the value itself"):
        require_no_references(find_references([], [f"--{key}", "${oc.env:COUNT}"]))
    require_no_references(find_references([], ["--model.init_args.optimizer.lr", "${oc.env:COUNT}"]))


def test_a_run_uses_the_value_and_keeps_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fake(tmp_path / SECRET)[0].partition("=")[2]
    monkeypatch.setenv("DIGITS", folder)
    recipe = {"data": {"init_args": {"source": {"init_args": {"folder": "${oc.env:DIGITS}"}}}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    options = [f"--config={tmp_path / 'own.yaml'}", "--trainer.max_steps=1", "--data.global_batch_size=${oc.env:COUNT}"]
    run = tmp_path / "run"
    assert main(["fit", *TOKENIZER, *QUICK, *options, f"--run={run}"]) == 0
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]
    assert data["source"]["init_args"]["folder"] == "${oc.env:DIGITS}"
    assert data["global_batch_size"] == "${oc.env:COUNT}"
    for file in run.rglob("*.*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    assert main(["validate", f"--config={run / 'config.yaml'}", *QUICK[:-2], "--trainer.limit_val_batches=1"]) == 0
