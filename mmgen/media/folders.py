"""Folders that commands write into: made anew, never written over."""

import fcntl
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import IO

from mmgen.core.disk import disk_error
from mmgen.core.errors import UserError, require
from mmgen.core.terminal import print_safely

_PARTIAL = ".partial"


def new_folder(path: str | Path) -> Path:
    """Make a folder to write results into. Raises UserError where it is a file, not empty, or not writable."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = [each.name for each in path.iterdir()]
        filled, left = bool(names), [name for name in names if name.startswith(".") and name.endswith(_PARTIAL)]
    except FileExistsError:
        raise UserError(f"{path} is a file, and a folder is needed here; choose another --out") from None
    except OSError as error:
        raise UserError(f"folder {path} cannot be made: {error.strerror}; choose another --out") from None
    if filled and left == names and left == [each.name for each in _leftovers(path)]:
        what = " ".join(shlex.quote(str(path / name)) for name in left)
        raise UserError(f"folder {path} holds what a command that was killed has left: rm -r {what}")
    require(not filled, f"folder {path} is not empty, and nothing is overwritten; choose another --out")
    require(os.access(path, os.W_OK | os.X_OK), f"folder {path} may not be written to; choose another --out")
    return path


@contextmanager
def whole_folder(out: str | Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when it is complete; an interruption leaves nothing. One that was there
    before, and empty, is filled from within, since it may be mounted.

    What commands that were killed have left in the same place is reported.

    Raises:
        UserError: `out` holds something already, or cannot be written, or the disk is full.
    """
    out = Path(out)
    existed = out.exists()
    final = new_folder(out).resolve()
    _report_leftovers(final.parent)
    partial: Path | None = None
    try:
        place = final if existed else final.parent
        partial = Path(tempfile.mkdtemp(prefix=f".{final.name[:99]}.", suffix=_PARTIAL, dir=place))
        with ExitStack() as mark:
            with suppress(OSError):  # a disk without locks
                mark.enter_context(_held(partial))
            yield partial
            if existed:
                for each in sorted(partial.iterdir()):
                    each.rename(final / each.name)
                partial.rmdir()
            else:
                partial.chmod(final.stat().st_mode & 0o777)  # a temporary folder is private; `out` is not
                partial.replace(final)
    except BaseException as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        if not existed:
            shutil.rmtree(final, ignore_errors=True)
        if (reason := disk_error(error)) is None and isinstance(error, OSError):
            reason = str(error.strerror or error)
        if reason is None or isinstance(error, UserError):
            raise
        raise UserError(f"{out} could not be written ({reason}); nothing of it is left") from None


def _report_leftovers(place: Path) -> None:
    """Name what commands that were killed have left in a place."""
    for left in _leftovers(place):
        print_safely(
            f"note: {left} was left by a command that was killed: rm -r {shlex.quote(str(left))}", file=sys.stderr
        )


def _leftovers(place: Path) -> Iterator[Path]:
    """What `whole_folder` and `whole_file` began in a place, and no process is filling any more."""
    for each in sorted(place.glob(f".*{_PARTIAL}")):
        with suppress(OSError), _held(each):
            yield each


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """A mark on a folder or file that ends with the process. Raises OSError where another one has it."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextmanager
def whole_file(file: str | Path, sync: bool = False) -> Iterator[IO[bytes]]:
    """A file to write, which becomes `file` when all is written: it is never half written, and an old one is there
    until the new one is. Raises OSError.

    Args:
        file: in a folder that exists.
        sync: end only when it is on the disk.
    """
    file = Path(file)
    partial = file.with_name(f".{secrets.token_hex(4)}{_PARTIAL}")  # short, whatever the length of the file's name
    try:
        with open(partial, "wb") as opened:
            with suppress(OSError):  # a disk without locks
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield opened
            if sync:
                opened.flush()
                os.fsync(opened.fileno())
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(file: str | Path, data: bytes, sync: bool = False) -> None:
    """Write all of a file as `whole_file`."""
    with whole_file(file, sync) as opened:
        opened.write(data)


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
    _report_leftovers(Path(file).absolute().parent)


def require_writable(folder: Path, what: str) -> None:
    """Raises UserError unless files can be made in a folder that is called `what`."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{what} {'may not be written to' if folder.is_dir() else 'does not exist'}; choose another")
