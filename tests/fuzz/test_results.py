"""Figures that others recorded: cards and pages are made of them, or a line says what is wrong; none of their text is
obeyed.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgen.core.errors import UserError
from mmgen.evaluation.card import BEGIN, END, update_card
from mmgen.page.sections import extractor_accuracies, metric_row
from mmgen.store.results import RESULTS, read
from tests.fuzz.mutation import PLAIN, fuzz, mutated, mutated_tree, refused

ROW = {
    "metric": "fid_net", "value": 3.5, "command": "mmgen evaluate runs/x", "data": "digits val", "samples": 8,
    "seed": 0, "steps": 4, "seconds": 1.2, "commit": "abc", "machine": "one", "date": "2026-01-01", "mode": "ar",
    "extractor": "net", "protocol": {
        "n": 8, "standard_error": 0.1, "extractor_accuracy": 0.9,
        "reference": {"data": "digits", "split": "val", "count": 8, "sha256": "0123", "frames": 4},
    },
}  # fmt: skip
CURVE = ROW | {
    "metric": "psnr_db", "extractor": None,
    "protocol": {"per_frame": [1.0, 2.0], "trained_frames": 2, "first_frame": 1},
}  # fmt: skip
DRIFT = ROW | {"metric": "drift_net", "protocol": {"per_window": [1, 2], "per_window_real": [1, 1], "window": 4}}
ROWS = [ROW, {name: value for name, value in CURVE.items() if value is not None}, DRIFT]
HARMFUL = [
    "<script>alert(1)</script>", "![x](http://evil.example/a.png)", "[x](javascript:alert(1))", "a`<b>`c",
    "a | b\n\n# c", BEGIN, END, "\x1b[31m", "</svg><script>", "```\n<i>", "\u202e", "[x]: http://evil.example",
    "&lt;b&gt;",
]  # fmt: skip
TEXTS = ["command", "data", "mode", "settings", "machine", "budget", "commit", "date", "protocol"]
FIELDS = [*ROW, "settings", "checkpoint", "better", "training_seed"]
VALUE = st.one_of(PLAIN, st.sampled_from(HARMFUL), st.sampled_from([10**400, [[[1]]], {"data": 1}, ["x"], True]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def check(data: bytes, folder: Path) -> None:
    for old in folder.iterdir():
        old.unlink()
    (folder / RESULTS).write_bytes(data)

    def render() -> None:
        figures = read(folder)
        update_card(folder)
        assert not update_card(folder), "what it wrote is not what it reads"
        extractor_accuracies(figures)
        for figure in figures:
            metric_row(figure.metric, [figure, None])
        card = (folder / "README.md").read_text()
        assert (card.count(BEGIN), card.count(END)) == (1, 1)
        prose = re.sub("`[^`\n]*`", "", card.replace(BEGIN, "").replace(END, ""))
        assert "<" not in prose
        assert "](" not in prose.replace("](curves.svg)", "")
        assert card.replace("\n", "").isprintable() or "\t" in card
        curves = folder / "curves.svg"
        assert not curves.exists() or "<script" not in curves.read_text()

    refused(render, UserError)


def test_the_figures_themselves_are_fine(folder: Path) -> None:
    check(json.dumps(ROWS).encode(), folder)
    assert (folder / "README.md").exists()
    assert (folder / "curves.svg").exists()


@pytest.mark.parametrize("text", HARMFUL)
@pytest.mark.parametrize("field", TEXTS)
def test_no_text_is_obeyed(text: str, field: str, folder: Path) -> None:
    protocol = {text: text, "reference": ROW["protocol"]["reference"] | {"data": text}}
    check(json.dumps([ROW | {field: protocol if field == "protocol" else text}]).encode(), folder)
    assert (folder / "README.md").exists(), "it is a text, and only looks like more"


@fuzz(150)
@given(tree=mutated_tree(ROWS))
def test_changed_entries(tree: Any, folder: Path) -> None:
    check(json.dumps(tree).encode(), folder)


@fuzz(150)
@given(
    row=st.integers(0, 2),
    name=st.sampled_from(FIELDS),
    value=VALUE,
)
def test_changed_fields(row: int, name: str, value: Any, folder: Path) -> None:
    rows = [each | ({name: value} if place == row else {}) for place, each in enumerate(ROWS)]
    check(json.dumps(rows).encode(), folder)


@fuzz(150)
@given(row=st.integers(0, 2), name=st.sampled_from(["per_frame", "per_window", "window", "reference", "standard_error",
       "first_frame", "trained_frames", "per_window_real", "extractor_accuracy", "<b>"]), value=VALUE)  # fmt: skip
def test_changed_protocols(row: int, name: str, value: Any, folder: Path) -> None:
    protocol = {"protocol": dict(ROWS[row]["protocol"]) | {name: value}}
    check(json.dumps([each | (protocol if place == row else {}) for place, each in enumerate(ROWS)]).encode(), folder)


@fuzz(100)
@given(data=mutated(json.dumps(ROWS).encode(), 1000))
def test_changed_bytes(data: bytes, folder: Path) -> None:
    check(data, folder)
