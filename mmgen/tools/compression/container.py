"""The compressed file: a header that says whose tokens follow and how they were coded, the code, and a checksum.

| bytes | what |
|---|---|
| 4, 1 | `mmgz`, version |
| 1, 1, 2 | bytes a label, bytes of the mode's name, rows coded side by side |
| 8, 8 | fingerprints of the weights of the generator and of its tokenizer |
| 1, 4, 2, 2, 2 | the tokens: kind, size of their alphabet, grid |
| 4, 4, 4 | images, bytes of code, checksum of the tokens |
| ... | name of the mode; labels, plus 1, unless no image has one; code |
| 4 | CRC-32 of all that |

Integers are little-endian. What a file claims is checked before memory is allocated: its lengths against its size, its
number of tokens against `LARGEST`.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from mmgen.core.errors import UserError, require
from mmgen.core.tokens import Grid, Kind

MAGIC = b"mmgz"
VERSION = 1
LARGEST = 2**24
"""Tokens a file: 128 MiB as int64."""
LARGEST_BATCH = 1024

_FIXED = struct.Struct("<4sBBBH8s8sBI3HIII")
_CHECK = struct.Struct("<I")
_KINDS = get_args(Kind)


@dataclass(frozen=True)
class Container:
    """The content of a file.

    Args:
        generator: `weights_hash` of the prior.
        tokenizer: the same of its tokenizer; zeros where it has none.
        mode: of the prior.
        kind: of the tokens; `size` and `grid` as in `TokenSpec`.
        batch: rows coded side by side, 1 to 1,024; the last ones may be fewer.
        labels: one an image, -1 for none.
        checksum: CRC-32 of the tokens.
        code: what the range coder wrote.
    """

    generator: str
    tokenizer: str
    mode: str
    kind: Kind
    size: int
    grid: Grid
    batch: int
    labels: tuple[int, ...]
    checksum: int
    code: bytes

    @property
    def images(self) -> int:
        """How many are in the file."""
        return len(self.labels)

    def to_bytes(self) -> bytes:
        """The file. Of up to `LARGEST` tokens, in batches of up to `LARGEST_BATCH`."""
        mode = self.mode.encode()
        width = _width(max(self.labels) + 1)
        fixed = _FIXED.pack(
            MAGIC, VERSION, width, len(mode), self.batch, bytes.fromhex(self.generator), bytes.fromhex(self.tokenizer),
            _KINDS.index(self.kind), self.size, *self.grid, self.images, len(self.code), self.checksum,
        )  # fmt: skip
        labels = b"".join((label + 1).to_bytes(width, "little") for label in self.labels) if width else b""
        whole = fixed + mode + labels + self.code
        return whole + _CHECK.pack(zlib.crc32(whole))


def read_container(path: str | Path) -> Container:
    """Read a file. Raises UserError where it is missing, foreign, truncated or corrupt."""
    try:
        with open(path, "rb") as file:
            start = file.read(_FIXED.size)
            _check_size(start, os.fstat(file.fileno()).st_size, str(path))
            return parse(start + file.read(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def parse(data: bytes, name: str = "the stream") -> Container:
    """Inverse of `Container.to_bytes`; `name` is the file in errors. Raises UserError where the bytes are foreign, of
    another version, truncated or corrupt.
    """
    _check_size(data, len(data), name)
    if _CHECK.unpack(data[-_CHECK.size :])[0] != zlib.crc32(data[: -_CHECK.size]):
        raise UserError(f"{name} is corrupt: its checksum does not match; copy it again")
    fields = _FIXED.unpack_from(data)
    _, _, width, mode_bytes, batch, generator, tokenizer, kind, size, t, h, w, images, code_bytes, checksum = fields
    labels_at = _FIXED.size + mode_bytes
    code_at = labels_at + width * images
    try:
        mode = data[_FIXED.size : labels_at].decode()
    except UnicodeDecodeError:
        raise _impossible(name) from None
    if not (1 <= batch <= LARGEST_BATCH and kind < len(_KINDS) and size and code_bytes % 4 == 0):
        raise _impossible(name)
    stored = data[labels_at:code_at]
    labels = [int.from_bytes(stored[at : at + width], "little") - 1 for at in range(0, len(stored), width or 1)]
    return Container(
        generator.hex(), tokenizer.hex(), mode, _KINDS[kind], size, (t, h, w), batch,
        tuple(labels) if width else (-1,) * images, checksum, data[code_at : code_at + code_bytes],
    )  # fmt: skip


def _check_size(start: bytes, actual: int, name: str) -> None:
    """Raises UserError where the fixed part of a file is foreign, claims too much, or another size than `actual`."""
    if start[: len(MAGIC)] != MAGIC:
        what = "is empty" if not start else "is no file of mmgen compress"
        raise UserError(f"{name} {what}; name one that mmgen compress wrote")
    if len(start) > len(MAGIC) and start[len(MAGIC)] != VERSION:
        raise UserError(
            f"{name} is of version {start[len(MAGIC)]} of the format, and this mmgen reads version {VERSION};"
            " take the mmgen that wrote it"
        )
    require(len(start) >= _FIXED.size, f"{name} is truncated: it ends within the header; copy it again")
    _, _, width, mode_bytes, *_, t, h, w, images, code_bytes, _ = _FIXED.unpack_from(start)
    if width not in (0, 1, 2, 4) or not 0 < images * t * h * w <= LARGEST:
        raise _impossible(name)
    size = _FIXED.size + mode_bytes + width * images + code_bytes + _CHECK.size
    require(actual == size, f"{name} is truncated or corrupt: {actual:,} bytes, not {size:,}; copy it again")


def _impossible(name: str) -> UserError:
    return UserError(f"{name} is corrupt: its header says what is impossible; copy it again")


def _width(largest: int) -> int:
    """Bytes for numbers up to `largest`; 0 where that is 0."""
    return next(width for width in (0, 1, 2, 4) if largest < 256**width)
