"""Arrays of numbers from `.npy` files of others: nothing is unpickled, and no more memory taken than the file has."""

import tokenize
from pathlib import Path

import numpy as np

from mmgen.core.errors import UserError, require

# The header is a Python literal, which numpy parses: what it raises on a damaged one is that wide.
_DAMAGED = (
    OSError, ValueError, EOFError, SyntaxError, TypeError, AttributeError, ArithmeticError, MemoryError, RecursionError,
    tokenize.TokenError,
)  # fmt: skip


def open_array(path: str | Path) -> np.ndarray:
    """An array of numbers, which stays on the disk until it is used.

    Raises:
        UserError: no such file, a damaged one, one that is shorter than it says, or one that holds other things.
    """
    try:
        array = _load(path)
    except _DAMAGED as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"{path} is no array, or a damaged one ({lines[0].rstrip('.')})") from None
    require(isinstance(array, np.ndarray) and array.dtype.kind in "fiu", f"{path} holds no array of numbers")
    return array


def _load(path: str | Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except SystemError:  # CPython 3.11's parser, where it was entered again from within (gh-106905): no fault of a file
        return np.load(path, mmap_mode="r", allow_pickle=False)
