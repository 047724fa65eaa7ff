"""Arrays from `.npy` and `.npz` files of others: nothing is unpickled, and no more memory taken than the file has."""

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib import format as npy

from mmgen.core.bounded_reader import BoundedReader
from mmgen.core.errors import UserError, require
from mmgen.core.files import require_regular_file

_HEADER = 2**14  # bytes of the longest header: numpy itself reads 10,000
_DIRECTORY = 2**20  # bytes of the longest list of what is in an archive
_PLACES = 2**16  # along an axis of an array that has no bytes
_CHUNK = 2**18
_RATIO, _SMALL = 100, 2**28  # an array is at most so many times as long as it is compressed, or of so many bytes

# The header is a Python literal, which numpy parses: what it raises on a damaged one is that wide. So is `zipfile`.
_DAMAGED = (
    OSError, ValueError, EOFError, SyntaxError, TypeError, AttributeError, ArithmeticError, MemoryError, RecursionError,
    LookupError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


class _Header(NamedTuple):
    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype
    size: int  # of the header itself, in bytes


def open_array(path: str | Path) -> np.ndarray:
    """An array of numbers, which stays on the disk until it is used.

    Raises:
        UserError: no such file, a damaged one, one that is shorter or longer than it says, or one that holds other
            things.
    """
    require_regular_file(path)
    try:
        with open(path, "rb") as file:
            length = file.seek(0, io.SEEK_END)
            file.seek(0)
            header = _read_header(file.read(_HEADER))
        _check_size(header, length)
        require(header.dtype.kind in "fiu", f"{path} holds no array of numbers")
        if not math.prod(header.shape):  # no bytes, of which there is no map
            return np.empty(header.shape, header.dtype)
        order: Literal["F", "C"] = "F" if header.by_columns else "C"
        return np.memmap(path, header.dtype, "r", header.size, header.shape, order)
    except _DAMAGED as error:
        raise UserError(f"{path} is no array, or a damaged one ({_line(error)})") from None


def read_arrays(path: str | Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file by name. What each claims is checked before any is read: it is as long as its header
    says, and a compressed one of more than 256 MiB at most a hundred times as long as what it is packed into.

    Args:
        path: of the file.
        names: of arrays that it must have.
        optional: of arrays that it may have.

    Raises:
        UserError: no such file, a damaged one, one that lacks an array, claims more than it has, or holds other things
            than numbers and texts.
    """
    require_regular_file(path)
    try:
        with BoundedReader(path, _DIRECTORY) as file, zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            missing = next((name for name in names if name not in members), None)
            if missing is not None:
                raise UserError(f"{path} has no array {missing}, only {', '.join(list(members)[:5]) or 'none'}")
            chosen = {name: members[name] for name in (*names, *optional) if name in members}
            headers = {name: _check_member(archive, info, file.length) for name, info in chosen.items()}
            return {name: _read_member(archive, info, headers[name]) for name, info in chosen.items()}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except _DAMAGED as error:
        raise UserError(f"{path} is no readable .npz file: {_line(error)}") from None


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, length: int) -> _Header:
    if info.header_offset + info.compress_size > length:
        raise ValueError(f"{info.filename} is said to have {info.compress_size:,} bytes, and the file has {length:,}")
    if info.compress_type != zipfile.ZIP_STORED and info.file_size > max(_SMALL, _RATIO * info.compress_size):
        raise ValueError(f"{info.filename} of {info.compress_size:,} bytes is said to unpack to {info.file_size:,}")
    with archive.open(info) as member:
        header = _read_header(member.read(_HEADER))
    _check_size(header, info.file_size)
    return header


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: _Header) -> np.ndarray:
    flat = np.empty(math.prod(header.shape), header.dtype)
    rest = flat.view(np.uint8).data if flat.size else memoryview(b"")
    with archive.open(info) as member:
        member.read(header.size)
        while rest:
            data = member.read(min(len(rest), _CHUNK))
            if not data:
                raise EOFError(f"{info.filename} is cut off")
            rest[: len(data)] = data
            rest = rest[len(data) :]
    return flat.reshape(header.shape, order="F" if header.by_columns else "C")


def _read_header(data: bytes) -> _Header:
    """Of a file that begins so. Raises ValueError for one of objects, or what numpy raises on a damaged one."""
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its format is {version[0]}.{version[1]}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    start = file.tell()
    try:
        shape, by_columns, dtype = read(file)
    except SystemError:  # CPython 3.11's parser, where it was entered again from within (gh-106905): no fault of a file
        file.seek(start)
        shape, by_columns, dtype = read(file)
    if dtype.hasobject or not dtype.itemsize:  # numpy makes places of no bytes some of four
        raise ValueError(f"it holds {'objects' if dtype.hasobject else 'texts without characters'}, which are not read")
    return _Header(shape, by_columns, dtype, file.tell())


def _check_size(header: _Header, length: int) -> None:
    """Raises ValueError unless an array fills the rest of its `length` bytes. One without bytes may have no more places
    than that, or `_PLACES`.
    """
    size = math.prod(header.shape) * header.dtype.itemsize
    places = max(header.shape, default=0)
    if min(header.shape, default=0) < 0 or size != length - header.size or places > max(length, _PLACES):
        raise ValueError(
            f"it is said to be {header.dtype} of shape {header.shape}, {size:,} bytes, and has {length - header.size:,}"
        )


def _line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
