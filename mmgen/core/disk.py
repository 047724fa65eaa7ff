"""Disks that are full, too small or read-only, whichever library meets them."""

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO]
_TEXTS = {os.strerror(number): number for number in _NUMBERS}
_SHORT = re.compile(r"requested and \d+ written|PytorchStreamWriter failed")  # of NumPy and torch


def disk_error(error: BaseException | None) -> str | None:
    """What is wrong with the disk, where an error, or one that it comes from, is about a write that it refused. None
    where it is about something else.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return os.strerror(error.errno)
        if named := next((text for text in _TEXTS if text in str(error)), None):  # Rust's and C++'s have no number
            return named
        if _SHORT.search(str(error)):
            return os.strerror(errno.ENOSPC)
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def quiet_threads() -> Iterator[None]:
    """In here, a thread that a disk stops prints no traceback: whoever gives it work meets the error again."""
    before = threading.excepthook

    def report(about: threading.ExceptHookArgs) -> None:
        if disk_error(about.exc_value) is None:
            before(about)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before
