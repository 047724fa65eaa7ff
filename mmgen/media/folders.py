"""Folders that commands write into: made anew, never written over."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when it is complete; an interruption leaves nothing.

    Raises:
        UserError: `out` holds something already, or cannot be written.
    """
    existed = out.exists()
    out = new_folder(out).resolve()
    partial = out
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        yield partial
        partial.chmod(out.stat().st_mode & 0o777)  # a temporary folder is private; the one it replaces is not
        partial.replace(out)
    except BaseException as error:
        if partial != out:
            shutil.rmtree(partial, ignore_errors=True)
        if not existed:
            shutil.rmtree(out, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"{out} could not be written ({error.strerror or error}); nothing of it is left") from None
        raise


def write_whole(file: Path, data: bytes) -> None:
    """Write a file at one stroke, so that it is never half written. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
        os.chmod(partial, 0o644)  # a temporary file is private; this one is to be read
        os.replace(partial, file)
    except BaseException:
        os.unlink(partial)
        raise


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
