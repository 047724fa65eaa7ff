"""Emoji: small colour pictures that all have a name, from a font or from a folder of pictures."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS, FreeText
from mmgen.data.sources.base import Samples, Source, SplitName, require_at_least
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.scan import Kind
from mmgen.data.sources.search import search_folder
from mmgen.data.sources.stored import StoredImages
from mmgen.media.image_file import open_image
from mmgen.media.images import from_pil, save_png, to_uint8

NOTO = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
_HOW = (
    "on Debian, apt install fonts-noto-color-emoji; or name another font as data.source.font, or pictures as"
    " data.source.folder"
)
_SIZE = 109  # the one size of Noto's bitmaps
_PICTURES = Kind("picture", frozenset((".png", ".webp")))
_RANGES = (range(0xA9, 0x3300), range(0x1F000, 0x1FB00))  # the Unicode blocks with emoji in them
_KINDS = ("So", "Sm", "Po", "Pd")  # symbols and punctuation; not the swatches of skin (Sk), nor digits


class Emoji(Source):
    """Emoji of one code point each on white, in colour and without classes: Unicode's blocks mix all sorts.

    A sample's number is its code point, whose Unicode name in lower case is its caption, such as `green heart`. It is
    held out when it is a multiple of 10, so that another font, or another edition of it, moves none from one split to
    the other.

    Args:
        image_size: side of a sample, in pixels.
        font: a colour bitmap font of 109 pixels, as Noto Color Emoji.
        folder: pictures named by code point in base 16 (`1f600.png`, `emoji_u1f600.png`), as Twemoji and OpenMoji are
            published, in place of a font; other files, and sequences of several code points, are counted.
    """

    crop = "the whole picture in a white square, scaled by Lanczos"

    def __init__(self, image_size: int = 64, font: str | Path = NOTO, folder: str | None = None) -> None:
        require_at_least(1, image_size=image_size)
        self.image_size = image_size
        self.font = Path(font)
        self.folder = None if folder is None else Path(folder)
        self.sample_shape = (3, image_size, image_size)

    @cached_property
    def _pictures(self) -> dict[int, Tensor]:
        """Code point -> (3, image_size, image_size) uint8."""
        drawn = _from_font(self.font) if self.folder is None else _from_folder(self.folder)
        return {code: self._pixels(picture) for code, picture in drawn}

    def load_split(self, split: SplitName) -> Samples:
        codes = [code for code in sorted(self._pictures) if (code % 10 == 0) == (split == "val")]
        if not codes:
            place, count = self.folder or self.font, len(self._pictures)
            raise UserError(f"{place} has no emoji for the {split} split among its {count}; {_HOW}")
        pixels, number = torch.stack([self._pictures[code] for code in codes]), torch.tensor(codes)
        return StoredImages(pixels, torch.full_like(number, NO_CLASS), number, _captions(codes))

    def _pixels(self, picture: Image.Image) -> Tensor:
        """(3, image_size, image_size) uint8: the whole picture in the middle of a white square."""
        side = max(picture.size)
        square = Image.new("RGB", (side, side), "white")
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        return to_uint8(from_pil(square.resize((self.image_size, self.image_size), Image.Resampling.LANCZOS)))

    @property
    def caption_vocabulary(self) -> FreeText:
        """The names of all code points that a font may draw, or of those in the folder; nothing is drawn for it."""
        return _captions(_drawable() if self.folder is None else (code for code, _ in _files(self.folder))).vocabulary()

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Noise named by code points, from the grinning face on."""
        Path(path).mkdir(parents=True, exist_ok=True)
        noise = Draws(0, torch.arange(samples)).uniform("fake emoji", 3, 24, 24).float() * 2 - 1
        for number, picture in enumerate(noise):
            save_png(picture, Path(path) / f"{0x1F600 + number:x}.png")
        return {"folder": str(path)}


def _captions(codes: Iterable[int]) -> Captions:
    """The name of each code point; `u+` and its number where it has none."""
    return Captions.of([unicodedata.name(chr(code), f"u+{code:04x}").lower()] for code in codes)


def _drawable() -> Iterator[int]:
    """The code points among which a font's emoji are."""
    return (code for codes in _RANGES for code in codes if unicodedata.category(chr(code)) in _KINDS)


def _from_font(path: Path) -> Iterable[tuple[int, Image.Image]]:
    """(code point, picture) of all single code points that the font draws."""
    if not path.is_file():
        raise UserError(f"the emoji font {path} does not exist: {_HOW}")
    try:
        font = ImageFont.truetype(str(path), _SIZE)
    except OSError as error:
        raise UserError(f"{path} is no colour bitmap font of {_SIZE} pixels ({error}): {_HOW}") from None
    drawn, colourful = [], False
    for code in _drawable():
        left, top, right, bottom = (round(edge) for edge in font.getbbox(chr(code)))
        if right > left and bottom > top:
            canvas = Image.new("RGB", (right - left, bottom - top), "white")
            ImageDraw.Draw(canvas).text((-left, -top), chr(code), "black", font, embedded_color=True)
            drawn.append((code, canvas))
            colourful = colourful or bool(np.ptp(np.asarray(canvas), axis=-1).any())
    if not colourful:
        raise UserError(f"{path} draws no emoji in colour: {_HOW}")
    return drawn


def _from_folder(folder: Path) -> Iterable[tuple[int, Image.Image]]:
    """(code point, picture) of all files named by one code point."""
    return ((code, open_image(path, channels=3)) for code, path in _files(folder, report=True))


def _files(folder: Path, report: bool = False) -> list[tuple[int, Path]]:
    """(code point, file) of the same; other files are counted where that is to be reported."""
    if not folder.is_dir():
        raise UserError(
            f"{folder} is no folder: data.source.folder must hold pictures named by code point, as 1f600.png"
        )
    contents, paths = search_folder(folder, _PICTURES, deep=False), dict[int, Path]()
    for name in contents.names:
        match = re.fullmatch(r"(?:emoji_u)?([0-9a-f]{1,6})\.[a-z]+", name.lower())
        code = None if match is None else int(match[1], 16)
        if code is None or code > 0x10FFFF:
            contents.left_aside.add("picture(s) not named by one code point", name)
        elif code in paths:
            contents.left_aside.add("picture(s) of a code point that has one", name)
        else:
            paths[code] = folder / name
    if report:
        contents.left_aside.report(folder)
    return list(paths.items())
