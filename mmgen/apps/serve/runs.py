"""The generators that lie in a folder, and the one of them that was used last, kept in memory."""

import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmgen.core.errors import UserError, nearest
from mmgen.core.terminal import printable
from mmgen.core.yaml_text import read_yaml
from mmgen.store.members import members_of
from mmgen.store.run_config import first_line
from mmgen.store.store import CHECKPOINT, CONFIG, WEIGHTS, Loaded, Saved, load_generator

_DEPTH = 3  # folders below the one that is searched: runs/demo/masked is found, and so is runs/NAME/MEMBER


@dataclass(frozen=True)
class RunList:
    """What a folder holds.

    Args:
        paths: of each generator, by the name that the page shows; the one that was trained last comes first.
        skipped: why each other run is none of them, by its name.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def path(self, name: str | None) -> Path:
        """Of a generator. Raises UserError for a name that is not here, whatever lies on the disk under it."""
        if not name:
            raise UserError("choose a run first")
        if not isinstance(name, str):
            raise UserError("a run is chosen by its name")
        if name not in self.paths:
            raise UserError(f"there is no generator {name!r} here{nearest(name, self.paths)}")
        return self.paths[name]


def find_runs(folder: str | Path) -> RunList:
    """The runs and exports of generators in a folder such as runs/, in folders of it, or that it is itself. A run is
    judged by its config and by whether its weights are there and whole. Raises UserError where it is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one that holds runs, as `mmgen fit` writes them")
    paths: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for run in _configured(folder, skipped):
        name = _label(run, folder)
        try:
            config = _config(run)
            for path in [run / member for member in members_of(config)] or [run]:
                label = name if path == run else printable(f"{name}/{path.name}")
                reason = _why_not(path, run, config)
                if reason is None:
                    paths[label] = path
                else:
                    skipped[label] = reason
        except Exception as error:  # whatever a folder of others holds, all others are listed
            skipped[name] = printable(f"it cannot be read ({type(error).__name__}: {first_line(error)})")
    latest = sorted(paths, key=lambda name: (-_changed(paths[name]), name))
    return RunList({name: paths[name] for name in latest}, dict(sorted(skipped.items())))


class LastLoaded:
    """Loads generators, and keeps the last one until another is asked for or its weights have changed.

    Args:
        device: where it is to run.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device, self._lock = device, threading.Lock()
        self._key: tuple[Path, float] | None = None
        self._loaded: Loaded | None = None

    def get(self, path: Path) -> Loaded:
        """The generator of a run, ready to sample. Raises UserError as `mmgen.store.store.load_generator`."""
        with self._lock:
            key = path, _changed(path)
            if self._loaded is None or self._key != key:
                self._key = self._loaded = None  # the old one's memory is free before the new one needs its own
                self._loaded = load_generator(path).to(self.device)
                self._key = key
            return self._loaded


def _label(path: Path, folder: Path) -> str:
    return printable(path.name if path == folder else str(path.relative_to(folder)))


def _configured(folder: Path, skipped: dict[str, str]) -> Iterator[Path]:
    """Folders with a config, in order; none within another. Those that may not be read are put into `skipped`."""
    waiting = [(folder, _DEPTH)]
    while waiting:
        here, depth = waiting.pop()
        try:
            if (here / CONFIG).is_file():
                yield here
            elif depth:
                below = sorted(path for path in here.iterdir() if path.is_dir() and not path.name.startswith("."))
                waiting += [(path, depth - 1) for path in reversed(below)]
        except OSError as error:
            skipped[_label(here, folder)] = f"it cannot be read ({error.strerror})"


def _config(run: Path) -> Any:
    try:
        return read_yaml(run / CONFIG)
    except UserError:
        return None


def _why_not(path: Path, run: Path, config: Any) -> str | None:
    """Why a run, or a member of it, cannot be sampled; None where nothing speaks against it."""
    if path != run or _has_paradigm(config):
        if (run / WEIGHTS).is_file():
            return None
        if (run / CHECKPOINT).is_file() and zipfile.is_zipfile(run / CHECKPOINT):  # looks for the directory at its end
            return None
    try:
        Saved.read(path, "generator")  # which says what is wrong, or takes the checkpoint before a damaged one
    except UserError as error:
        return str(error)
    return None


def _has_paradigm(config: Any) -> bool:
    try:
        return "paradigm" in config["model"]["init_args"]
    except (KeyError, TypeError):
        return False


def _changed(path: Path) -> float:
    """When the weights were last written, in seconds; 0 where there are none."""
    for run in (path, path.parent):  # the weights of RUN/MEMBER are the run's
        for weights in (run / WEIGHTS, run / CHECKPOINT):
            if weights.is_file():
                return weights.stat().st_mtime
    return 0.0
