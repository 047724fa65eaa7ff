"""What is no file at all, though it has a path."""

import os
import stat
from pathlib import Path

from mmgen.core.errors import require


def require_regular_file(path: str | Path) -> None:
    """Raises UserError for a pipe, a socket or a device, which could be waited for without end. What does not exist,
    and folders, are left to the reader.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    require(stat.S_ISREG(mode) or stat.S_ISDIR(mode), f"{path} is no file, but a pipe, a socket or a device")
