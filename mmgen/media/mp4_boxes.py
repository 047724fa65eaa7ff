"""Frames that the boxes of an MP4 or MOV file (ISO 14496-12) claim to index: FFmpeg takes memory for all of them."""

from pathlib import Path
from typing import BinaryIO

_COUNTS = {b"stsz": 12, b"stz2": 12, b"trun": 8}  # boxes that index frames: where after its name one says how many
_INDICES = b"moov", b"moof"  # boxes in which those are
_LONGEST_INDEX = 2**28  # bytes of a box that is looked through


def read_claims(path: str | Path) -> tuple[int, int]:
    """How many videos a file holds in a row, and the largest number of frames that a box of it claims; (0, 0) for a
    file of another format.
    """
    with open(path, "rb") as file:
        file.seek(0, 2)
        size, at, videos, most = file.tell(), 0, 0, 0
        while at + 8 <= size:
            kind, length = _box(file, at)
            videos += kind == b"moov"
            if kind in _INDICES:
                file.seek(at)
                most = max(most, _largest(file.read(min(length, size - at, _LONGEST_INDEX))))
            if length < 8 or not kind.isalnum():
                break
            at += length
        return videos, most


def _box(file: BinaryIO, at: int) -> tuple[bytes, int]:
    """Name and bytes of the box at a place; those to the end of the file where it says 0."""
    file.seek(at)
    head = file.read(16)
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return head[4:8], length or 2**62


def _largest(box: bytes) -> int:
    most = 0
    for name, place in _COUNTS.items():
        at = box.find(name)
        while at >= 0:
            most = max(most, int.from_bytes(box[at + place : at + place + 4], "big"))
            at = box.find(name, at + 4)
    return most
