"""Streams of MPEG audio, layer III (MP3): which frames there are.

An MP3 file has no header of its own: its length is a claim of the Xing frame that may stand first, or a guess from the
file's size. Decoders believe either. So the frames are counted here, each by its own four bytes, and the decoder is
given a stream whose Xing frame says what is there.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from mmgen.core.errors import UserError, require

Stream: TypeAlias = memoryview
Layout: TypeAlias = tuple[int, int, bool]
"""MPEG version (3 for 1, 2 for 2, 0 for 2.5), number of the sample rate, and whether it is mono."""

_KBITS = {  # by bit rate number, of MPEG 1 and of MPEG 2 and 2.5
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)  # Hz, of MPEG 1; MPEG 2 has half, MPEG 2.5 a quarter of them
_DIVISORS = {3: 1, 2: 2, 0: 4}
_TAGS = (b"Xing", b"Info")
_JUNK = 4096  # bytes between frames that are no frames: tags and padding that nobody knows


@dataclass(frozen=True)
class Frames:
    """What a stream holds.

    Args:
        count: of its frames of sound.
        runs: (begin, end) of the bytes of neighbouring ones.
        first: the four bytes of the first one's header.
        tag: the whole frame that holds a Xing or Info tag, empty where there is none.
        truncated: whether it ends within a frame.
        junk: bytes that belong neither to frames of the first one's layout nor to tags.
    """

    count: int
    runs: Sequence[tuple[int, int]]
    first: bytes
    tag: bytes
    truncated: bool
    junk: int


def is_stream(stream: Stream) -> bool:
    """Whether it begins as MPEG audio of any layer does, perhaps after tags."""
    at = tag_end(stream, 0)
    return at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] >= 0xE0


def check_whole(frames: Frames, size: int, path: object) -> None:
    """Raises UserError where a stream of so many bytes is cut off, or holds much that is no frame."""
    claim = _claims(frames.tag)[0]
    if claim is not None and claim > frames.count + 1:  # some count the Xing frame as well
        raise UserError(f"{path} is cut off: it has {frames.count} frames, and its header speaks of {claim}")
    require(not frames.truncated or claim is not None, f"{path} is cut off within its last frame")
    if frames.junk > max(_JUNK, size // 100):
        raise UserError(f"{path} is damaged: {frames.junk} of its {size} bytes are no frames of its rate and channels")


def exact_pieces(stream: Stream, frames: Frames) -> list[memoryview]:
    """The frames of a stream after a Xing frame that counts them."""
    size = sum(end - begin for begin, end in frames.runs)
    return [memoryview(_xing(frames, size)), *(stream[begin:end] for begin, end in frames.runs)]


def find_frames(stream: Stream) -> Frames | None:
    """All frames of a stream of layer III that follow its first one's rate and channels; None where there are none."""
    at, layout, count, tag, first, truncated, junk = 0, None, 0, b"", b"", False, 0
    runs: list[tuple[int, int]] = []
    while not truncated:
        after_tags = tag_end(stream, at)
        at = _next(stream, after_tags, layout)
        junk += at - after_tags
        frame, begin = _read(stream, at), at
        if frame is None:
            break
        layout = frame[1]
        side = _side(layout)
        while frame is not None and frame[1] == layout:
            end = at + frame[0]
            truncated = end > len(stream)
            if truncated:
                break
            if bytes(stream[at + side : at + side + 4]) in _TAGS or bytes(stream[at + 36 : at + 40]) == b"VBRI":
                tag = tag or bytes(stream[at:end])
                runs += [(begin, at)] * (at > begin)
                begin = end
            else:
                first, count = first or bytes(stream[at : at + 4]), count + 1
            at = end
            frame = _read(stream, at)
        runs += [(begin, at)] * (at > begin)
    return Frames(count, runs, first, tag, truncated, junk) if count else None


def tag_end(stream: Stream, at: int) -> int:
    """Where the tags (ID3v2, ID3v1, APE) end that stand at a byte; the byte itself where there is none."""
    while True:
        head = bytes(stream[at : at + 32])
        if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
            at += 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10])) + 10 * (head[5] >> 4 & 1)
        elif head[:3] == b"TAG" and len(stream) - at in (128, 128 + 32):
            at = len(stream)
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            at += 32 + int.from_bytes(head[12:16], "little")
        else:
            return min(at, len(stream))


@cache
def _table() -> dict[int, tuple[int, int, int]]:
    """Second and third byte of a header -> bytes of the frame, version, and number of the sample rate."""
    table = {}
    for second in range(0xE0, 0x100):
        version, layer = second >> 3 & 3, second >> 1 & 3
        for third in range(0x10, 0xF0):
            number, rate = third >> 4, third >> 2 & 3
            if version != 1 and layer == 1 and rate != 3:
                hertz, kbits = _RATES[rate] // _DIVISORS[version], _KBITS[3 if version == 3 else 2][number]
                length = (144 if version == 3 else 72) * 1000 * kbits // hertz + (third >> 1 & 1)
                table[second << 8 | third] = length, version, rate
    return table


def _read(stream: Stream, at: int) -> tuple[int, Layout] | None:
    """Bytes and layout of the frame whose header stands there; None where none does."""
    if at + 4 > len(stream) or stream[at] != 0xFF:
        return None
    known = _table().get(stream[at + 1] << 8 | stream[at + 2])
    return None if known is None else (known[0], (known[1], known[2], stream[at + 3] >> 6 == 3))


def _next(stream: Stream, at: int, layout: Layout | None) -> int:
    """Where the next frame (of a layout) begins after which another one, a tag or the end follows; else the end."""
    while at + 4 <= len(stream):
        frame = _read(stream, at)
        if frame is not None and layout in (None, frame[1]):
            after = at + frame[0]
            following = _read(stream, after)
            ends = after <= len(stream) and tag_end(stream, after) == len(stream)
            if ends or (following is not None and following[1] == frame[1]):
                return at
        at = _find(stream, at + 1)
    return len(stream)


def _find(stream: Stream, at: int) -> int:
    """The next byte that could begin a frame or a tag of ID3; the end where there is none."""
    while at < len(stream):
        part = bytes(stream[at : at + 65536])
        places = [place for mark in (b"\xff", b"ID3", b"APETAGEX") if (place := part.find(mark)) >= 0]
        if places:
            return tag_end(stream, at + min(places))
        at += len(part)
    return at


def _side(layout: Layout) -> int:
    """Where a Xing tag stands in its frame: after the header and the side information."""
    version, _, mono = layout
    return 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))


def _claims(tag: bytes) -> tuple[int | None, int]:
    """The frames that a Xing frame claims, None where it does not, and where in it the claim stands."""
    place = max(tag.find(b"Xing", 0, 44), tag.find(b"Info", 0, 44))
    if place < 0 or len(tag) < place + 16 or tag[place + 7] & 3 != 3:
        return None, 0
    return int.from_bytes(tag[place + 8 : place + 12], "big"), place


def _xing(frames: Frames, size: int) -> bytes:
    """A Xing frame that claims what is there, with the encoder's delay where the file's own one says it."""
    claim, place = _claims(frames.tag)
    tag = bytearray(frames.tag)
    if claim is None:
        tag = _empty_frame(frames.first)
        place = _side(_layout(frames.first))
        tag[place : place + 8] = b"Xing\0\0\0\3"
    tag[place + 8 : place + 16] = struct.pack(">II", frames.count, size + len(tag))
    return bytes(tag)


def _layout(header: bytes) -> Layout:
    frame = _read(memoryview(header), 0)
    assert frame is not None
    return frame[1]


def _empty_frame(header: bytes) -> bytearray:
    """The shortest frame of the rate and channels of a header that has room for a Xing tag."""
    for number in range(1, 15):
        made = bytes([0xFF, header[1] | 1, number << 4 | header[2] & 0x0C, header[3]])
        length = _table()[made[1] << 8 | made[2]][0]
        if length >= 4 + 32 + 16 + 40:  # some decoders look for LAME's part of the tag as well
            return bytearray(made + bytes(length - 4))
    raise AssertionError("the longest frame has room")
