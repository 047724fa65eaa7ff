import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmgen.core.errors import UserError
from mmgen.store import results
from mmgen.store.results import IDENTITY, RESULTS, commit, measured, read, write
from tests.figures import append

HOW: dict[str, Any] = dict(
    command="mmgen evaluate runs/x", data="digits val", samples=8, seed=0, steps=4, seconds=1.234
)


def test_a_row_holds_what_the_design_asks_for_and_context_only_where_there_is_some(tmp_path: Path) -> None:
    append(tmp_path, "psnr_db", 21.23456789, **HOW)
    context: dict[str, Any] = dict(mode="ar", budget="12 steps", settings="cfg 2.0", protocol={"n": 8})
    append(tmp_path, "fid", 3.5, extractor="digits_cnn", **context, **HOW)
    plain, full = json.loads((tmp_path / RESULTS).read_text())
    required = ["metric", "value", "command", "data", "samples", "seed", "steps"]
    required += ["seconds", "commit", "machine", "date"]
    assert list(plain) == required
    assert list(full) == [*required, "mode", "extractor", "budget", "settings", "protocol"]
    assert (plain["value"], plain["seconds"]) == (21.2346, 1.23)
    assert full["metric"] == "fid_digits_cnn"
    assert read(tmp_path)[1].to_dict() == full


def test_measuring_the_same_thing_again_replaces_its_row_where_it_stands(tmp_path: Path) -> None:
    append(tmp_path, "psnr_db", 20, **HOW)
    append(tmp_path, "ssim", 0.5, **HOW)
    append(tmp_path, "psnr_db", 22, **(HOW | dict(samples=9, seed=1, seconds=5, command="mmgen evaluate runs/y")))
    assert [(figure.metric, figure.value, figure.samples) for figure in read(tmp_path)] == [
        ("psnr_db", 22, 9),
        ("ssim", 0.5, 8),
    ]


@pytest.mark.parametrize("field", IDENTITY)
def test_another_thing_gets_a_row_of_its_own(tmp_path: Path, field: str) -> None:
    figure = measured("fid", 1.0, mode="ar", extractor="net", settings="cfg 2", **HOW)
    others = {"metric": "kid_net", "steps": 5, "extractor": "other", "training_seed": 7}
    changes = {field: others.get(field, "another")}
    if field == "extractor":
        changes["metric"] = "fid_other"
    write(tmp_path, [figure, replace(figure, **changes), figure])
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize(
    ("metric", "value", "extractor"),
    [
        ("psnr", 1.0, None),  # not the fixed name
        ("fid", 1.0, None),  # nobody would know by which network
        ("psnr_db", 1.0, "net"),  # no network takes part
        ("psnr_db", float("inf"), None),
        ("psnr_db", float("nan"), None),
    ],
)
def test_a_figure_that_says_too_little_is_no_figure(
    tmp_path: Path, metric: str, value: float, extractor: str | None
) -> None:
    with pytest.raises(ValueError, match=metric):
        append(tmp_path, metric, value, extractor=extractor, **HOW)
    assert not (tmp_path / RESULTS).exists()


@pytest.mark.parametrize("content", ["", "{", "{}", '[{"metric": "fid"}]', '[{"metrik": 1}]', "[1]"])
def test_damaged_results_are_named_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / RESULTS).write_text(content)
    with pytest.raises(UserError, match=RESULTS):
        append(tmp_path, "ssim", 0.5, **HOW)
    assert (tmp_path / RESULTS).read_text() == content


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        append(tmp_path / "nowhere", "ssim", 0.5, **HOW)


def test_an_interrupted_write_leaves_the_old_rows_and_no_debris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path, "ssim", 0.5, **HOW)
    before = (tmp_path / RESULTS).read_text()

    def fail(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="No space left"):
        append(tmp_path, "ssim", 0.6, **HOW)
    assert (tmp_path / RESULTS).read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


def test_the_machine_is_described_without_its_name() -> None:
    figure = measured("ssim", 0.5, **HOW)
    assert "core" in figure.machine
    assert "torch 2." in figure.machine
    assert os.uname().nodename not in figure.machine


def test_commit_is_the_checkout_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also inside somebody else's repository: a wheel in its virtual environment is none of its files."""

    def git(*words: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    module = tmp_path / "results.py"
    module.touch()
    monkeypatch.setattr(results, "__file__", str(module))
    assert commit() == "unknown"
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    assert commit() == "unknown"
    git("add", "results.py")
    git("commit", "-m", "second")
    assert commit() == git("rev-parse", "--short", "HEAD")
