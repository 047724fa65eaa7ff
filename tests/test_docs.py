"""The Python that the documents show runs, and does what they say."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_runs

ROOT = Path(__file__).parents[1]


def python_of(document: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{document} shows {len(blocks)} blocks of Python"
    return str(blocks[0])


def run(document: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(python_of(document), document, "exec"), names)
    return names


def test_the_training_loop_trains_every_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("docs/training_loop.md")
    assert names["history"][-1] < names["history"][0] / 3
    assert names["correct"].keys() == {"ar", "masked", "block"}
    assert min(names["correct"].values()) > 0.8


def test_the_training_loop_is_short_and_needs_no_lightning() -> None:
    code = python_of("docs/training_loop.md")
    assert len(code.splitlines()) <= 60
    assert "lightning" not in code


def test_the_example_of_the_readme_samples_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_runs.tokenizer_run(Path("runs/digits_bsq"))
    tiny_runs.generator_run(Path("runs/digits_mixture"), tokenizer, classes=10)
    names = run("README.md")
    assert names["state"].committed.all()
    assert names["images"].shape == (10, *names["model"].tokenizer.sample_shape)
