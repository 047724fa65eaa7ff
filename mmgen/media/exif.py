"""The orientation that the tags of an image file give, read by itself, so that no other tag can hide it."""

import re
import struct
from collections.abc import Mapping
from typing import Any

_ORIENTATION = 0x0112
_FORMATS = {1: "B", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "2i", 11: "f", 12: "d"}
"""Type of a tag -> its first value, as `struct` calls it."""


def read_orientation(info: Mapping[Any, Any]) -> float | str | None:
    """What an image file calls its orientation, 1 to 8 where it is sound; None without any.

    Args:
        info: of a Pillow image whose header is read.

    Raises:
        ValueError: there are tags, but they cannot be read.
    """
    exif = info.get("exif")
    if exif is None and (profile := info.get("Raw profile type exif")):  # as ImageMagick writes EXIF into a PNG
        exif = bytes.fromhex("".join(profile.split("\n")[3:]))
    value = None
    if exif:
        try:
            value = _find(exif.removeprefix(b"Exif\0\0"))
        except (struct.error, IndexError, ZeroDivisionError) as error:
            raise ValueError(f"EXIF cannot be read ({error})") from None
    return _of_xmp(info) if value is None else value


def _find(exif: bytes) -> float | str | None:
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        raise ValueError("EXIF does not begin as a TIFF file does")
    order = "<" if exif[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", exif, place)
        if tag == _ORIENTATION:
            return _value(exif, order, place + 8, kind, length)
    return None


def _value(exif: bytes, order: str, place: int, kind: int, length: int) -> float | str | None:
    form = "B" if kind == 2 else _FORMATS.get(kind)
    if form is None or not length:
        return None
    if struct.calcsize(order + form) * length > 4:
        (place,) = struct.unpack_from(order + "I", exif, place)
    if kind == 2:
        return exif[place : place + min(length, 8)].split(b"\0")[0].decode("latin-1")
    values = struct.unpack_from(order + form, exif, place)
    return values[0] if len(values) == 1 else values[0] / values[1]


def _of_xmp(info: Mapping[Any, Any]) -> str | None:
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    match = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp.encode() if isinstance(xmp, str) else xmp)
    return match[1].decode() if match else None
