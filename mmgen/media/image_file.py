"""Image files, read upright, in 8 bits and in sRGB. Looking a file through and reading it follow the same plan."""

import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.files import require_regular_file
from mmgen.media.colour import Profile, base_mode, find_profile, gamma_table, lab_profile, reduce_bits, to_srgb
from mmgen.media.exif import read_orientation
from mmgen.media.images import from_pil

T = TypeVar("T")
File = str | Path | io.BytesIO
"""A path, or the bytes of a file, whose `str` is their name."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI")
"""Those that are read, as Pillow calls them: it reads others by programs of the system, or without checks."""

LARGEST = 2**26
"""Pixels of the largest image that is read, a quarter of a GiB in Pillow's memory; of WebP, which has four copies at a
time, half of them.
"""

_TGA = re.compile(r"\.(tga|icb|vda|vst)\b", re.IGNORECASE)  # files that do not begin with anything of their own
_NO_TAGS = re.compile(rb"(II\*\0\x08\0\0\0|MM\0\*\0\0\0\x08)..", re.DOTALL)  # EXIF up to the number of its tags
_LONGEST = 32  # times as long as wide
_LARGE = 2**22  # pixels of an image of which only one is decoded at a time while a folder is looked through
_MODES = {1: "L", 3: "RGB"}
_END = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # of a whole file, but for padding
_ORIENTATION, _BITS, _WHITE = 0x0112, 258, 281  # tags of EXIF and TIFF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # from orientation, of which 5 to 8 swap height and width
_LOCK = threading.Lock()

PngImagePlugin.MAX_TEXT_CHUNK = 2**24  # colour profiles of a few MiB are no bombs
# Pillow warns of odd tags, and of sizes well beyond LARGEST, once for each file.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageHeader(NamedTuple):
    """What an image file says of itself before it is decoded.

    Attributes:
        size: (height, width), upright.
        conversions: what reading it changes.
    """

    size: tuple[int, int]
    conversions: tuple[str, ...]


def read_header(file: Path, channels: int) -> ImageHeader:
    """A file's header. One that lacks the end of its format, is of a format without one, or has 16 bits a pixel, is
    decoded whole, so that what is wrong with it is known; other damage within the file shows only when it is read.

    Args:
        file: the file.
        channels: 1 or 3, those of a sample.

    Raises:
        UserError: as `open_image`.
    """

    def look(image: Any) -> ImageHeader:
        plan = _plan(image, str(file))
        if plan.wide or not _is_whole(image.fp, image.format):
            with _LOCK if image.width * image.height > _LARGE else nullcontext():
                _decode(image, plan, str(file), channels)
        return ImageHeader(plan.size, tuple(_conversions(plan, channels)))

    return _with_opened(file, look)


def open_image(file: File, channels: int | None, report: Callable[[Iterable[str]], None] | None = None) -> Image.Image:
    """The first frame of an image file, of mode L (1 channel) or RGB (3), None for what the file has: in 8 bits,
    upright as its EXIF says, in sRGB as its colour profile says.

    16 bits are scaled, not clipped; transparency lies on white; CMYK, palettes, grey and colour are converted. `report`
    takes what is changed, as `ImageHeader.conversions` has it.

    Raises:
        UserError: no such file, no image of `FORMATS`, a damaged or truncated one, one larger than `LARGEST` or 32
            times as long as wide, or one whose range is not known: 32 bits, floats, 16 bits of which 4 are not used.
    """

    def read(image: Any) -> Image.Image:
        plan = _plan(image, str(file))
        if report is not None and channels is not None:
            report(_conversions(plan, channels))
        return _decode(image, plan, str(file), channels)

    return _with_opened(file, read)


def read_image(path: str | Path, shape: tuple[int, ...], resize: bool = False) -> Tensor:
    """An image file as (C, H, W) floats in [-1, 1].

    Args:
        path: a file that `open_image` reads; colour is turned to grey, or grey to colour, as `shape` asks.
        shape: (C, H, W) that the image must have, with C 1 or 3.
        resize: scale another size to H x W and cut what protrudes, evenly on both sides, instead of refusing it.

    Raises:
        UserError: as `open_image`; another size and not `resize`; or `shape` is no image's.
    """
    if len(shape) != 3 or shape[0] not in _MODES:
        raise UserError(f"{path} cannot be used: an image has shape (1 or 3, H, W), but {tuple(shape)} is needed here")
    channels, height, width = shape
    image = open_image(path, channels)
    if image.size != (width, height):
        if not resize:
            raise UserError(
                f"{path} is {image.width}x{image.height} pixels, but {width}x{height} are expected; --resize fits it"
            )
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return from_pil(image)


def check_no_strip(name: str | Path, size: tuple[int, int]) -> None:
    """Raises UserError where a (height, width) is that of a strip, whose scaled side would fill the memory."""
    if max(size) > _LONGEST * min(size):
        raise UserError(f"{name} is a strip of {size[1]}x{size[0]} pixels")


def _with_opened(file: File, use: Callable[[Any], T]) -> T:
    """What `use` makes of an image whose header is read."""
    try:
        if isinstance(file, io.BytesIO):
            return use(_open(file, str(file)))
        require_regular_file(file)
        with open(file, "rb") as opened:
            return use(_open(opened, str(file)))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"image {file} does not exist") from None
    except IsADirectoryError:
        raise UserError(f"{file} is a folder, not an image") from None
    except PermissionError:
        raise UserError(f"image {file} may not be read (permission denied)") from None
    except UnidentifiedImageError:
        raise UserError(f"{file} is not an image, or of a format that is not read") from None
    except Image.DecompressionBombError:
        raise UserError(f"{file} has more than {LARGEST:,} pixels (WebP: half of it), the most that are read") from None
    except Exception as error:  # damaged files raise whatever their format's decoder stumbles on
        raise UserError(f"{file} is a damaged image: {' '.join(str(error).split()) or type(error).__name__}") from None


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads."""
    Image.init()
    return tuple(form for form in FORMATS if form in Image.OPEN)


def _open(opened: IO[bytes], name: str) -> Image.Image:
    formats = (*_formats(), "TGA") if _TGA.search(name) else _formats()
    try:
        image: Image.Image = Image.open(opened, formats=formats)
    except Image.DecompressionBombError:
        raise
    except Exception:
        opened.seek(0)
        head = opened.read(12)
        opened.seek(0)
        if head[4:] in (b"ftypavif", b"ftypavis"):  # Pillow writes its tags anew where the image is turned
            image = Image.open(io.BytesIO(_NO_TAGS.sub(rb"\1\0\0", opened.read())), formats=formats)
        elif head.startswith(b"\xff\xd8\xff"):  # Pillow refuses one whose index of further images is odd
            image = JpegImagePlugin.JpegImageFile(opened)
        else:
            raise
    if image.width * image.height > (LARGEST // 2 if image.format == "WEBP" else LARGEST):
        raise Image.DecompressionBombError
    return image


class _Plan(NamedTuple):
    """How a file becomes an image.

    Attributes:
        size: (height, width), upright.
        mode: of its pixels.
        turn: what is left to be done to have it upright once it is loaded.
        white: the value of white where a pixel is of mode I.
        wide: whether it has 16 bits or more a channel.
        profile: by which its colours become sRGB.
        table: the same of bytes.
        notes: what is changed or left out, but for what follows from the mode.
    """

    size: tuple[int, int]
    mode: str
    turn: Image.Transpose | None
    white: int
    wide: bool
    profile: Profile | None
    table: list[int] | None
    notes: tuple[str, ...]


def _plan(image: Any, name: str) -> _Plan:
    notes = []
    try:
        size, turn = _upright(image)
    except Exception:  # whatever is wrong with the other tags of a file, it says nothing of the pixels
        size, turn = (image.height, image.width), None
        notes.append("tags that cannot be read left out")
    check_no_strip(name, size)
    wide = image.mode.startswith("I") or any(";16" in str(tile.args) for tile in getattr(image, "tile", []))
    profile, table = lab_profile() if image.mode == "LAB" else None, None
    if icc := image.info.get("icc_profile"):
        try:
            profile = find_profile(icc, base_mode(image.mode))
        except ValueError:
            notes.append("colour profile that does not fit left out")
    elif "srgb" not in image.info:
        table = gamma_table(image.info.get("gamma"))
    if table is not None:
        notes.append("gamma turned to that of sRGB")
    if profile is not None and image.mode != "LAB":
        notes.append("colour profile turned to sRGB")
    if image.has_transparency_data:
        notes.append("transparency laid on white")
    if getattr(image, "is_animated", False):
        notes.append("only the first of several frames taken")
    return _Plan(size, image.mode, turn, _white(image, name), wide, profile, table, tuple(notes))


def _conversions(plan: _Plan, channels: int) -> Iterator[str]:
    grey, mode = base_mode(plan.mode) == "L", plan.mode
    changes = {
        "grey turned to colour": grey and channels == 3,
        "colour turned to grey": not grey and channels == 1,
        "16 bits scaled to 8": plan.wide,
        f"{mode} turned to RGB": mode in ("CMYK", "YCbCr", "LAB", "HSV"),
        "palette turned to RGB": mode == "P",
    }
    yield from (change for change, applies in changes.items() if applies)
    yield from plan.notes


def _upright(image: Any) -> tuple[tuple[int, int], Image.Transpose | None]:
    """(height, width) of the upright image, and the turn that is left to do once it is loaded."""
    size = image.height, image.width
    if image.format == "TIFF":  # Pillow turns it itself, by whole numbers alone, and its size may say so already
        value = image.getexif().get(_ORIENTATION)
        turn, left = _turn(value), None if isinstance(value, int) else _turn(value)
        if image.tag_v2.get(_ORIENTATION) in (5, 6, 7, 8):
            size = size[::-1]
    else:
        info = image.info
        if image.format == "PNG" and "exif" not in info:
            info = _png_without_pixels(image).info
        turn = left = _turn(read_orientation(info))
    return size[::-1] if turn is not None and _swaps(turn) else size, left


def _turn(value: Any) -> Image.Transpose | None:
    """The turn that an orientation asks for, however the file writes its number."""
    try:
        return _TURNS.get(int((value[0] if isinstance(value, (tuple, bytes)) else value) or 1))
    except (ValueError, TypeError, IndexError, ArithmeticError):
        return None


def _swaps(turn: Image.Transpose) -> bool:
    return turn in (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])


def _png_without_pixels(image: Any) -> Image.Image:
    """The tags of a PNG file, of which some may come after its pixels."""
    opened, place = image.fp, image.fp.tell()
    opened.seek(0)
    parts = [opened.read(8)]
    while len(head := opened.read(8)) == 8:
        length = int.from_bytes(head[:4], "big") + 4
        if head[4:] in (b"IDAT", b"fdAT", b"fcTL", b"acTL"):
            opened.seek(length, os.SEEK_CUR)
        else:
            parts += [head, opened.read(length)]
        if head[4:] == b"IEND":
            break
    else:
        parts.append(b"\0\0\0\0IEND\xaeB`\x82")
    opened.seek(place)
    return PngImagePlugin.PngImageFile(io.BytesIO(b"".join(parts)))


def _white(image: Any, name: str) -> int:
    """The value of white in a file of one channel of more than 8 bits; 0 of others."""
    if image.mode == "F":
        raise UserError(f"{name} holds floats, whose range is unknown; convert it to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return 0
    if image.format == "TIFF":
        white, bits = image.tag_v2.get(_WHITE), max(image.tag_v2.get(_BITS, (16,)))
        if isinstance(white, tuple):
            white = max(white)
        if isinstance(white, int) and 0 < white < 2**32:
            return white
        if image.mode != "I":
            return 2**bits - 1
    elif image.mode != "I" or image.format in ("PPM", "PNG"):  # which Pillow scales to 16 bits
        return 65535
    raise UserError(f"{name} has 32 bits a pixel, whose range is unknown; convert it to 8 or 16 bits")


def _decode(image: Any, plan: _Plan, name: str, channels: int | None) -> Image.Image:
    image.load()
    if plan.wide:
        extrema = image.getextrema()
        highest = (
            extrema[1] if plan.white else max(high for _, high in extrema[: 1 if base_mode(plan.mode) == "L" else 3])
        )
        if 0 < highest < (4096 if plan.white == 65535 else 16 if plan.white == 0 else 1):
            raise UserError(
                f"{name} has 16 bits a channel and uses 12 of them at most, so its range is unknown; scale it to 16"
                " bits, or convert it to 8"
            )
    if plan.white:
        try:
            image = reduce_bits(image, plan.white)
        except ValueError as error:
            raise UserError(f"{name} has a range that is unknown: {error}; convert it to 8 or 16 bits") from None
    mode = base_mode(plan.mode) if channels is None else _MODES[channels]
    result = to_srgb(image, mode if mode == "L" else "RGB", plan.profile, plan.table)
    if plan.turn is None:
        return result
    if result is not image:
        image.close()  # frees its pixels, so that a large image is in memory twice at most
    return result.transpose(plan.turn)


def _is_whole(opened: IO[bytes], form: str | None) -> bool:
    """Whether a file has the end of its format, as far as that has one."""
    place = opened.tell()
    length = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, length - 64))
    end = opened.read()
    opened.seek(0)
    head = opened.read(8)
    opened.seek(place)
    if form == "WEBP":
        return int.from_bytes(head[4:], "little") + 8 <= length
    if form == "GIF":
        return end.rstrip(b"\0").endswith(b";")
    return form in _END and _END[form] in end
