"""Reading files of torch: nothing but tensors and plain values is unpickled, and a file takes no more than its size."""

import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.core.bounded_reader import BoundedReader
from mmgen.core.errors import UserError

_LARGEST_PICKLE = 2**24
"""Bytes of the names and numbers of a file, next to its tensors; in memory they take up to sixty times as much."""

_STORAGES = {each.__name__ for each in torch._storage_classes}
_TYPES = {name for name, each in vars(torch).items() if isinstance(each, torch.dtype)}
_NAMES = {
    "collections OrderedDict", "collections Counter", "torch Size", "torch device", "torch.nn.parameter Parameter",
    "torch.serialization _get_layout", "torch._tensor _rebuild_from_type_v2", "_codecs encode",
    *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in ("set", "complex")),
    *(f"torch._utils _rebuild_{name}" for name in (
        "tensor_v2", "tensor_v3", "parameter", "parameter_with_state",
    )),
    *(f"{module} {name}" for module in ("torch", "torch.storage", "torch.cuda") for name in _STORAGES),
    *(f"torch {name}" for name in _TYPES),
}  # fmt: skip
"""All that a file may name: less than torch allows, which would also make sparse tensors and arrays of any size."""

# What the readers of archives and of pickles raise on a damaged file, whose numbers lead anywhere in it.
_DAMAGED = (
    zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError, KeyError, IndexError,
    OverflowError, struct.error,
)  # fmt: skip


class Unsound(Exception):
    """A checkpoint that is damaged, or holds what is refused; its text goes on from the file's name."""


def read_torch_file(path: Path, mmap: bool = False, old_format: bool = False) -> dict[str, Any]:
    """What a file holds, on the CPU.

    Args:
        path: of the file.
        mmap: leave tensors on the disk until they are used.
        old_format: also read what torch wrote before its files were zip archives.

    Raises:
        Unsound: it is damaged, holds more than tensors and plain values, or claims more than its bytes.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
        elif not old_format:
            raise Unsound("is truncated or corrupt (it is no archive as torch.save writes them)")
        checkpoint = torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    except Unsound:
        raise
    except Exception as error:  # what torch raises on a damaged file is open-ended: zip, pickle, OS, key, value errors
        raise Unsound(_reason(error)) from None
    if not isinstance(checkpoint, dict):
        raise Unsound(f"holds {type(checkpoint).__name__}, no checkpoint")
    size = path.stat().st_size
    for tensor in _tensors(checkpoint):
        if tensor.numel() * tensor.element_size() > size:  # one number under many places
            raise Unsound(f"is of {size:,} bytes, and claims a tensor of shape {tuple(tensor.shape)}")
    return checkpoint


def read_weights(path: Path) -> dict[str, Any]:
    """The weights that others published as a file of torch, also in its old format. Raises UserError for a file that is
    missing, damaged, or holds more than weights.
    """
    try:
        if zipfile.is_zipfile(path):
            check_contents(path)
        return read_torch_file(path, old_format=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from None
    except Unsound as error:
        raise UserError(f"{path} {error}") from None


def check_contents(path: Path) -> None:
    """Read an archive whole. Raises Unsound where a part of it differs from the checksum that it was written with."""
    _check_archive(path)
    try:
        with BoundedReader(path, _LARGEST_PICKLE) as file, zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except _DAMAGED as error:
        raise Unsound(f"is truncated or corrupt ({_first_line(error)})") from None
    if damaged is not None:
        raise Unsound(f"is truncated or corrupt (the checksum of its part {damaged!r} is wrong)")


def _check_archive(path: Path) -> None:
    """Raises Unsound unless an archive holds no more than its bytes, and names nothing but parts of tensors."""
    try:
        with BoundedReader(path, _LARGEST_PICKLE) as file, zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED or part.compress_size != part.file_size for part in parts):
                raise Unsound("holds compressed parts, which torch.save does not write")
            if len({part.filename for part in parts}) < len(parts):
                raise Unsound("holds a part twice")
            if sum(part.file_size for part in parts) > path.stat().st_size:
                raise Unsound("holds parts that overlap")
            for part in parts:
                if part.filename.endswith(".pkl"):
                    if part.file_size > _LARGEST_PICKLE:
                        raise Unsound(f"holds {part.file_size:,} bytes besides its tensors, which is refused")
                    _check_names(archive.read(part))
    except _DAMAGED as error:
        raise Unsound(f"is truncated or corrupt ({_first_line(error)})") from None


def _check_names(pickled: bytes) -> None:
    """Reads the instructions of a pickle without following them."""
    for instruction, argument, _ in pickletools.genops(pickled):
        if instruction.name in ("GLOBAL", "INST", "STACK_GLOBAL") and argument not in _NAMES:
            named = f" ({str(argument).replace(' ', '.')})" if argument else ""
            raise Unsound(f"holds more than weights, which is refused{named}")


def _reason(error: Exception) -> str:
    """Torch's own text would advise to switch its safeguard off."""
    if "weights_only" in str(error) or "Weights only" in str(error):
        return "holds more than weights, which is refused"
    return f"is truncated or corrupt ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return lines[0].strip().rstrip(".:") or type(error).__name__


def _tensors(tree: Any) -> Iterator[Tensor]:
    waiting, seen = [tree], set[int]()
    while waiting:  # a loop, since trees of others may be deep, and hold themselves
        each = waiting.pop()
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, dict | list | tuple | set) and id(each) not in seen:
            seen.add(id(each))
            waiting += each.values() if isinstance(each, dict) else each
