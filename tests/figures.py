"""Figures for tests of cards and reports."""

from pathlib import Path
from typing import Any

from mmgen.store.results import measured, write


def append(folder: Path, metric: str, value: float, **how: Any) -> None:
    """Write one figure of here and now into a folder's results.json."""
    write(folder, [measured(metric, value, **how)])
