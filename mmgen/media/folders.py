"""Folders that commands write into: made anew, never written over."""

import os
from itertools import count
from pathlib import Path

from mmgen.core.errors import UserError


def new_folder(path: str | Path) -> Path:
    """Make a folder to write results into.

    Args:
        path: a folder that does not exist yet, or is empty.

    Raises:
        UserError: it holds something already, is a file, or cannot be made or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        filled = any(path.iterdir())
    except FileExistsError:
        raise UserError(f"{path} is a file, and a folder is needed here; choose another --out") from None
    except OSError as error:
        raise UserError(f"folder {path} cannot be made: {error.strerror}; choose another --out") from None
    if filled:
        raise UserError(f"folder {path} is not empty, and nothing is overwritten; choose another --out")
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"folder {path} may not be written to; choose another --out")
    return path


def next_free(path: Path) -> Path:
    """The first of `path`/000, 001, ... that does not exist yet."""
    return next(path / f"{number:03d}" for number in count() if not (path / f"{number:03d}").exists())
