"""Looking through a folder of images before training: what is there, what will be converted, what cannot be read."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mmgen.errors import UserError
from mmgen.imaging import open_image

SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
_END = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # what a whole file ends with, but for padding
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 swap height and width
_LONGEST = 32  # times as long as wide: a strip whose scaled side would fill the memory
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


def files(root: Path, deep: bool = True) -> Iterator[str]:
    """The image files beneath `root`, told by their suffix, as sorted paths relative to it.

    Args:
        root: a folder; links are followed.
        deep: whether to look into folders within it.
    """
    for here, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if deep and not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.relpath(os.path.join(here, name), root)


def scan(root: Path, names: Sequence[str], channels: int) -> list[Header | None]:
    """The header of every file, None where it cannot be read; tells what is converted and skipped, and how often.

    A file that lacks the end of its format is decoded whole, so truncation is found here; other damage further on in
    the file shows only when it is read.

    Args:
        root: the folder.
        names: paths relative to it.
        channels: 1 or 3, as `mmgen.imaging.open_image` is asked for.
    """

    def part(start: int) -> list[Header | str]:
        return [_header(root / name, channels) for name in names[start : start + _CHUNK]]

    with ThreadPoolExecutor(8) as pool:  # opening waits for the disk more than for the processor
        found = [header for chunk in pool.map(part, range(0, len(names), _CHUNK)) for header in chunk]
    reasons = [reason for reason in found if isinstance(reason, str)]
    if reasons:
        notice(f"{root}: {len(reasons)} file(s) skipped, the first because {reasons[0]}")
    headers = [None if isinstance(header, str) else header for header in found]
    counts = Counter(change for header in headers if header is not None for change in header.conversions)
    for change, count in sorted(counts.items()):
        notice(f"{root}: {change} in {count} image(s)")
    return headers


def _header(path: Path, channels: int) -> Header | str:
    """A file's header, or why it cannot be read."""
    try:
        with Image.open(path) as image:
            header = Header(_upright(image), tuple(_conversions(image, channels)))
            whole = _is_whole(path, image.format)
        if max(header.size) > _LONGEST * min(header.size):
            return f"{path} is a strip of {header.size[1]}x{header.size[0]} pixels"
        if not whole:
            open_image(path, channels)
    except UserError as error:
        return str(error)
    except UnidentifiedImageError:
        return f"{path} is not an image, or of a format that Pillow does not read"
    except Exception as error:  # damaged headers raise whatever their format's reader stumbles on
        return f"{path} is a damaged image: {' '.join(str(error).split())}"
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
