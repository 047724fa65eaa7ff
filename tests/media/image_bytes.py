"""Image files written tag by tag, so that what tests expect does not come from the reader."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Tag = tuple[int, int, int, bytes]
"""Number, type, count and value of an EXIF tag, little endian."""

QUADRANTS = np.zeros((24, 32, 3), np.uint8)
"""A picture (24, 32, 3) that no turn leaves the same, in blocks that JPEG keeps."""
QUADRANTS[:8, :8], QUADRANTS[:8, 24:], QUADRANTS[16:, :8] = (250, 30, 30), (30, 250, 30), (30, 30, 250)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, 3) as it is shown: where the EXIF standard says that its first row and first column lie."""
    row, column = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    if row in ("left", "right"):
        pixels = pixels.transpose(1, 0, 2)
    if "bottom" in (row, column):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if "right" in (row, column) else pixels


def orientation_tag(value: int) -> Tag:
    return 0x0112, 3, 1, struct.pack("<H", value)


def exif_block(*tags: Tag) -> bytes:
    """EXIF with these tags, as it stands in PNG, WebP and behind `Exif` in JPEG."""
    offset, entries, data = 8 + 2 + 12 * len(tags) + 4, b"", b""
    for number, kind, count, payload in tags:
        value = payload.ljust(4, b"\0") if len(payload) <= 4 else struct.pack("<I", offset + len(data))
        data += payload if len(payload) > 4 else b""
        entries += struct.pack("<HHI", number, kind, count) + value
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + data


def encode(pixels: np.ndarray | Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, form, **options)
    return file.getvalue()


def jpeg_with(exif: bytes, pixels: np.ndarray = QUADRANTS) -> bytes:
    """A JPEG whose first segment is this EXIF."""
    whole = encode(pixels, "JPEG", quality=95, subsampling=0)
    segment = b"Exif\0\0" + exif
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + whole[2:]


def tiff_with(*tags: Tag) -> bytes:
    """An uncompressed TIFF of `QUADRANTS` with further tags."""
    whole = encode(QUADRANTS, "TIFF")
    (start,) = struct.unpack_from("<I", whole, 4)
    (count,) = struct.unpack_from("<H", whole, start)
    entries = [whole[place : place + 12] for place in range(start + 2, start + 2 + 12 * count, 12)]
    data, end = b"", len(whole)
    for number, kind, length, payload in tags:
        value = payload.ljust(4, b"\0") if len(payload) <= 4 else struct.pack("<I", end + len(data))
        data += payload if len(payload) > 4 else b""
        entries.append(struct.pack("<HHI", number, kind, length) + value)
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    table = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return whole[:4] + struct.pack("<I", end + len(data)) + whole[8:] + data + table


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks) + png_chunk(b"IEND", b"")


def png_head(width: int, height: int, bits: int = 8, kind: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)


def png_with(*late: tuple[bytes, bytes], pixels: np.ndarray = QUADRANTS) -> bytes:
    """A PNG with chunks after its pixels."""
    return encode(pixels, "PNG")[:-12] + b"".join(png_chunk(*chunk) for chunk in late) + png_chunk(b"IEND", b"")


def with_orientation(form: str, orientation: int, folder: Path) -> Path:
    """`QUADRANTS` in a file of a format that says how it is to be turned."""
    tag, exif = orientation_tag(orientation), Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"{form}-{orientation}"
    if form == "jpeg":
        path.write_bytes(jpeg_with(exif_block(tag)))
    elif form == "png":
        path.write_bytes(png_with((b"eXIf", exif_block(tag))))
    elif form == "early png":
        path.write_bytes(encode(QUADRANTS, "PNG", exif=exif))
    elif form == "webp":
        path.write_bytes(encode(QUADRANTS, "WEBP", exif=exif, lossless=True))
    elif form == "avif":
        path.write_bytes(encode(QUADRANTS, "AVIF", exif=exif, quality=95, subsampling="4:4:4"))
    else:
        compression = {"tiff": None, "packed tiff": "tiff_lzw"}[form]
        path.write_bytes(encode(QUADRANTS, "TIFF", tiffinfo={0x0112: orientation}, compression=compression))
    return path


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _icc(space: bytes, pcs: bytes, kind: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    tags = [
        (b"desc", b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)),
        (b"cprt", b"text\0\0\0\0none\0"),
        (b"wtpt", b"XYZ \0\0\0\0" + _fixed(0.9642, 1, 0.8249)),
        *tags,
    ]
    table, data, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, body in tags:
        body += bytes(-len(body) % 4)
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body
    head = struct.pack(">I", start + len(data)) + bytes(4) + struct.pack(">I", 0x02400000) + kind + space + pcs
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + data


def icc_profile(gamma: float, primaries: tuple[tuple[float, float, float], ...]) -> bytes:
    """An ICC profile of a display with this gamma and these primaries, in XYZ under D50."""
    tags = []
    for name, primary in zip((b"r", b"g", b"b"), primaries):
        tags += [(name + b"XYZ", b"XYZ \0\0\0\0" + _fixed(*primary)), (name + b"TRC", _curve(gamma))]
    return _icc(b"RGB ", b"XYZ ", b"mntr", tags)


def grey_icc_profile(gamma: float) -> bytes:
    """An ICC profile of grey with this gamma."""
    return _icc(b"GRAY", b"XYZ ", b"mntr", [(b"kTRC", _curve(gamma))])


def cmyk_icc_profile(inks: tuple[int, int, int]) -> bytes:
    """An ICC profile of a press with white paper and black, whose other inks all have this colour, bytes of Lab."""
    black, paper = (0, 128, 128), (255, 128, 128)
    nodes = b"".join(bytes(black if node[3] else inks if any(node) else paper) for node in np.ndindex(2, 2, 2, 2))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return _icc(b"CMYK", b"Lab ", b"prtr", [(b"A2B0", table + bytes(range(256)) * 4 + nodes + bytes(range(256)) * 3)])
