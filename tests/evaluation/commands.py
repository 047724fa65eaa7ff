"""`mmgen evaluate` from the command line, and the rows of results.json that it leaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmgen.apps.cli.main import main


def evaluate(*words: Any) -> None:
    assert main(["evaluate", *map(str, words)]) == 0


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.json").read_text())


def timeless(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What a command that is repeated measures again."""
    timed = ("seconds_per_sample", "seconds_per_second", "first_audio_ms")
    return [(row.get("mode"), row["metric"], row["value"]) for row in rows if row["metric"] not in timed]


def refuse(capsys: pytest.CaptureFixture[str], message: str, *words: Any) -> None:
    """The command ends in one line with the message."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, words)]) == 2
    text = capsys.readouterr().err
    assert text.startswith("mmgen: error: ") and text.count("\n") == 1
    assert message in text
