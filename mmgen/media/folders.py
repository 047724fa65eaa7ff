"""Folders that commands write into: made anew, never written over."""

import os
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from mmgen.core.errors import UserError, require


def new_folder(path: str | Path) -> Path:
    """Make a folder to write results into. Raises UserError where it is a file, not empty, or not writable."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        filled = any(path.iterdir())
    except FileExistsError:
        raise UserError(f"{path} is a file, and a folder is needed here; choose another --out") from None
    except OSError as error:
        raise UserError(f"folder {path} cannot be made: {error.strerror}; choose another --out") from None
    require(not filled, f"folder {path} is not empty, and nothing is overwritten; choose another --out")
    require(os.access(path, os.W_OK | os.X_OK), f"folder {path} may not be written to; choose another --out")
    return path


def next_free(path: Path) -> Path:
    """The first of `path`/000, 001, ... that does not exist yet."""
    return next(path / f"{number:03d}" for number in count() if not (path / f"{number:03d}").exists())


def unique_names(files: Sequence[str], suffix: str) -> list[str]:
    """A name for each file's result: its own stem and the suffix, with a number where two share it."""
    names: list[str] = []
    for stem in (Path(file).stem for file in files):
        numbered = (f"{stem}-{number}{suffix}" for number in count(2))
        names.append(next(name for name in chain([f"{stem}{suffix}"], numbered) if name not in names))
    return names


def require_new_file(file: str | Path, option: str) -> None:
    """Raises UserError unless the file of that option can be made and does not exist yet."""
    require(not Path(file).exists(), f"{option} {file} exists, and nothing is overwritten; choose another")
    require_writable(Path(file).absolute().parent, f"the folder of {option} {file}")


def require_writable(folder: Path, what: str) -> None:
    """Raises UserError unless files can be made in a folder that is called `what`."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{what} {'may not be written to' if folder.is_dir() else 'does not exist'}; choose another")
