"""Reading one file of torch, of which nothing but tensors and plain values is unpickled."""

from pathlib import Path
from typing import Any

import torch


class Unsound(Exception):
    """A checkpoint that is damaged, or holds what is refused; its text goes on from the file's name."""


def read_torch_file(path: Path, mmap: bool = False) -> dict[str, Any]:
    """What a file holds, on the CPU.

    Args:
        path: of the file.
        mmap: leave tensors on the disk until they are used.

    Raises:
        Unsound: it is damaged, or holds more than tensors and plain values.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    except Exception as error:  # what torch raises on a damaged file is open-ended: zip, pickle, OS, key, value errors
        what = (
            "holds more than weights, which is refused" if "weights_only" in str(error) else "is truncated or corrupt"
        )
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Unsound(f"{what} ({lines[0].strip().rstrip('.:')})") from None
    if not isinstance(checkpoint, dict):
        raise Unsound(f"holds {type(checkpoint).__name__}, no checkpoint")
    return checkpoint
