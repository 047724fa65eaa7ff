"""Looking through a folder of files before training: what is there, what is converted, what is skipped."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from mmgen.core.errors import UserError
from mmgen.media.images import open_image

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """What a folder holds.

    Args:
        word: what one of its files is called.
        suffixes: how their names end, in lower case.
    """

    word: str
    suffixes: frozenset[str]


IMAGES = Kind(
    "image",
    frozenset(
        (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
    ),
)
VIDEOS = Kind(
    "video",
    frozenset(
        (".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")
    ),
)
SOUNDS = Kind("sound", frozenset((".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav")))

_END = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # what a whole file ends with, but for padding
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 swap height and width
_LONGEST = 32  # times as long as wide
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # set by torchrun, Lightning and srun
_CHUNK = 256  # files that a thread takes at once

logger = logging.getLogger("mmgen.data")


def notice(text: str, every_rank: bool = False) -> None:
    """Tells the user, in one line on standard error, what was done with the data without being asked.

    Args:
        text: the line.
        every_rank: for what only one process of several has seen; otherwise the first one tells it for all.
    """
    rank = next((os.environ[name] for name in _RANKS if name in os.environ), "0")
    if every_rank or rank == "0":
        logger.warning(text)


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded.

    Args:
        size: (height, width), upright.
        conversions: what reading it will change.
    """

    size: tuple[int, int]
    conversions: tuple[str, ...]


def folders(root: Path) -> list[Path]:
    """The folders in `root` that are not hidden, sorted by name."""
    return sorted(Path(entry) for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def files(root: Path, kind: Kind, deep: bool = True) -> Iterator[str]:
    """The files of one kind beneath `root`, told by their suffix, as sorted paths relative to it.

    Args:
        root: a folder; links are followed.
        kind: which files.
        deep: whether to look into folders within it.
    """
    for here, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if deep and not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in kind.suffixes:
                yield os.path.relpath(os.path.join(here, name), root)


def skim(root: Path, names: Sequence[str], header: Callable[[Path], T]) -> list[T | None]:
    """What every file says of itself, None where it cannot be used; tells how many are skipped, and why the first is.

    Args:
        root: the folder.
        names: paths relative to it.
        header: reads one file's, and raises UserError where it is not to be used.
    """

    def part(start: int) -> list[T | UserError]:
        found: list[T | UserError] = []
        for name in names[start : start + _CHUNK]:
            try:
                found.append(header(root / name))
            except UserError as error:
                found.append(error)
        return found

    with ThreadPoolExecutor(8) as pool:  # opening waits for the disk more than for the processor
        headers = [one for chunk in pool.map(part, range(0, len(names), _CHUNK)) for one in chunk]
    reasons = [one for one in headers if isinstance(one, UserError)]
    if reasons:
        notice(f"{root}: {len(reasons)} file(s) skipped, the first because {reasons[0]}")
    return [None if isinstance(one, UserError) else one for one in headers]


def tell_conversions(root: Path, conversions: Iterable[str], kind: Kind) -> None:
    """Tells what reading will change, and in how many files: a line for each kind of change, named once a file."""
    for change, count in sorted(Counter(conversions).items()):
        notice(f"{root}: {change} in {count} {kind.word}(s)")


def scan(root: Path, names: Sequence[str], channels: int) -> list[Header | None]:
    """The header of every image, None where it cannot be read; tells what is converted and skipped, and how often.

    A file that lacks the end of its format is decoded whole, so truncation is found here; other damage further on in
    the file shows only when it is read.

    Args:
        root: the folder.
        names: paths relative to it.
        channels: 1 or 3, as `mmgen.media.images.open_image` is asked for.
    """
    headers = skim(root, names, partial(_header, channels=channels))
    conversions = (change for header in headers if header is not None for change in header.conversions)
    tell_conversions(root, conversions, IMAGES)
    return headers


def check_no_strip(path: Path, size: tuple[int, int]) -> None:
    """Raises UserError where a (height, width) is that of a strip, whose scaled side would fill the memory."""
    if max(size) > _LONGEST * min(size):
        raise UserError(f"{path} is a strip of {size[1]}x{size[0]} pixels")


def _header(path: Path, channels: int) -> Header:
    """A file's header. Raises UserError where it cannot be read."""
    try:
        with Image.open(path) as image:
            header = Header(_upright(image), tuple(_conversions(image, channels)))
            whole = _is_whole(path, image.format)
        check_no_strip(path, header.size)
        if not whole:
            open_image(path, channels)
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image, or of a format that Pillow does not read") from None
    except Exception as error:  # damaged headers raise whatever their format's reader stumbles on
        raise UserError(f"{path} is a damaged image: {' '.join(str(error).split())}") from None
    return header


def _upright(image: Image.Image) -> tuple[int, int]:
    # Pillow decodes the whole of a PNG to look for EXIF, which hardly any has.
    turned = image.format != "PNG" and image.getexif().get(_ORIENTATION, 1) >= 5
    return (image.width, image.height) if turned else (image.height, image.width)


def _conversions(image: Image.Image, channels: int) -> Iterator[str]:
    mode = image.mode
    grey = mode.startswith(("1", "L", "I")) and mode != "LAB"
    if mode == "F":
        raise UserError(f"{image.filename} holds floats, whose range is unknown; convert it to 8 or 16 bits")  # type: ignore[attr-defined]
    if grey and channels == 3:
        yield "grey turned to colour"
    if not grey and channels == 1:
        yield "colour turned to grey"
    if mode.startswith("I") or any(";16" in str(tile.args) for tile in getattr(image, "tile", [])):
        yield "16 bits scaled to 8"
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        yield f"{mode} turned to RGB"
    if mode == "P":
        yield "palette turned to RGB"
    if image.has_transparency_data:
        yield "transparency laid on white"
    if getattr(image, "is_animated", False):
        yield "only the first of several frames taken"


def _is_whole(path: Path, format: str | None) -> bool:
    end = _END.get(format or "")
    if end is None:
        return True
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return end in file.read()
