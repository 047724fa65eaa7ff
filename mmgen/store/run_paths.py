"""Relative paths in what runs say: from the working directory, then from each folder above the run."""

from contextvars import ContextVar
from pathlib import Path

_run: ContextVar[Path | None] = ContextVar("run", default=None)


def set_run(run: Path) -> None:
    """Say whose config is carried out, for the rest of this context (`contextvars`)."""
    _run.set(run)


def find_folder(named: str | Path, run: Path | None = None) -> Path | None:
    """The folder that a run names, by default that of `set_run`; None where there is none."""
    run = _run.get() if run is None else run
    above = () if run is None else run.absolute().parents
    return next((base / named for base in (Path(), *above) if (base / named).is_dir()), None)
