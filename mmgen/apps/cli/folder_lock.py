"""One process at a time may train in a folder."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from socket import gethostname
from typing import IO

from mmgen.core.errors import UserError

_NAME = ".lock"


class FolderLock:
    """A lock that this process holds on a folder. It ends with the process, however that ends, and is not handed on to
    children. A disk that knows no locks gives one to everybody.

    Args:
        file: open, in the folder.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def close(self) -> None:
        """Give it back, and remove its file."""
        with suppress(OSError):
            os.unlink(self._file.name)
        self._file.close()


def lock_folder(folder: Path) -> FolderLock:
    """Raises UserError where another process has the folder; OSError where no file can be made in it."""
    path = folder / _NAME
    while True:
        file = open(path, "a+")  # noqa: SIM115 (open as long as the lock is held)
        if not _lock(file):
            raise _taken(folder, file)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                break
        file.close()  # it was removed in between by the process that had it
    file.truncate(0)
    file.write(f"process {os.getpid()} on {gethostname()}")
    file.flush()
    return FolderLock(file)


def require_unlocked(folder: Path) -> None:
    """Raises UserError where another process has the folder."""
    with suppress(OSError), open(folder / _NAME, "r+") as file:
        if not _lock(file):
            raise _taken(folder, file)


def _lock(file: IO[str]) -> bool:
    """False where another process has it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a disk without locks
        pass
    return True


def _taken(folder: Path, file: IO[str]) -> UserError:
    file.seek(0)
    owner = file.read(200).strip() or "another process"
    return UserError(f"{folder} is being trained by {owner}: wait for it, or name another folder with --run PATH")
