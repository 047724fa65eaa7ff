"""Sheets and films of small images with transparent gaps, so that they lie well on a light and on a dark page."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from einops import rearrange, repeat
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmgen.media.images import to_uint8
from mmgen.page.page import Picture, data_uri

Pixels = NDArray[np.uint8]
"""(..., H, W, 4): red, green, blue, opacity."""

LONGEST = 16_383  # pixels that a side of a WebP picture may have
GAP = 4  # pixels between tiles

OPEN = (128, 128, 128, 44)  # places that hold nothing yet, on any ground
WRONG = (226, 88, 59, 255)
_TINT = 0.55  # share of the accent over a place that has just been filled


@dataclass(frozen=True)
class Clock:
    """The clock of all films of a row: it counts `unit`s from `first` to `last`, one in `tick` seconds, then rests for
    `rest` seconds and begins again.
    """

    unit: str
    first: int
    last: int
    tick: float
    rest: float


@dataclass(frozen=True)
class Film:
    """Frames under each other that are shown in turn, on the clock of their row: the reading of the clock at which each
    appears, ascending, its caption, and the caption of the whole.
    """

    strip: Picture
    at: list[int]
    captions: list[str]
    total: str


def pixels(images: Tensor, times: int = 1) -> Pixels:
    """(..., C, H, W) in [-1, 1], grey or colour, to opaque pixels (..., times * H, times * W, 4)."""
    colour = repeat(
        to_uint8(images), "... c h w -> ... (h a) (w b) (k c)", a=times, b=times, k=3 // images.shape[-3]
    ).numpy()
    return np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=-1)


def cover(
    image: Pixels, committed: Tensor, fresh: Tensor | None = None, accent: tuple[int, int, int] = (0, 0, 0)
) -> Pixels:
    """Pixels (..., H, W, 4), of which all places of a coarser grid (..., h, w) that are not committed are grey, and the
    fresh ones are tinted with the accent, red, green and blue.
    """
    sizes = list(zip(image.shape[-3:-1], committed.shape[-2:]))
    rows, columns = (np.arange(size) * cells // size for size, cells in sizes)
    seams = [
        np.convolve(np.append(np.diff(each) > 0, True), np.ones(width := max(1, size // cells // 8)))[width - 1 :] > 0
        for each, (size, cells) in zip((rows, columns), sizes)
    ]
    empty = np.array([OPEN, (0, 0, 0, 0)], dtype=np.uint8)[(seams[0][:, None] | seams[1]).astype(int)]
    covered = np.where(committed.numpy()[..., rows[:, None], columns, None], image, empty)
    if fresh is not None:
        places = fresh.numpy()[..., rows[:, None], columns]
        covered[places] = (1 - _TINT) * covered[places] + _TINT * np.array([*accent, 255])
    return covered


def sheet(tiles: Pixels, columns: int, gap: int = GAP, marked: Tensor | None = None) -> Pixels:
    """(B, H, W, 4) side by side, row by row, as one (H', W', 4), with `gap` transparent pixels between them and a frame
    around those that are marked, (B,) bool.
    """
    rows, (_, height, width, _) = math.ceil(len(tiles) / columns), tiles.shape
    framed = np.zeros((rows * columns, height + gap, width + gap, 4), dtype=np.uint8)
    framed[: len(tiles), :height, :width] = tiles
    if marked is not None:
        line = max(1, height // 24)
        border = np.ones((height, width), dtype=bool)
        border[line:-line, line:-line] = False
        framed[: len(tiles), :height, :width][marked.numpy()[:, None, None] & border] = WRONG
    whole = rearrange(framed, "(r c) h w k -> (r h) (c w) k", c=columns)
    return whole[: len(whole) - gap, : whole.shape[1] - gap]


def picture(image: Pixels | Image.Image, alt: str, scale: float = 1.0) -> Picture:
    """Pixels (H, W, 4), or an image, without loss, shown `scale` times smaller. Neither side may be longer than
    `LONGEST`.
    """
    drawn, buffer = image if isinstance(image, Image.Image) else Image.fromarray(image), io.BytesIO()
    drawn.save(buffer, format="WEBP", lossless=True, quality=40)
    return Picture(
        data_uri(buffer.getvalue(), "image/webp"), alt, round(drawn.width / scale), round(drawn.height / scale)
    )


def make_film(tiles: Pixels, columns: int, at: Sequence[int], captions: Sequence[str], total: str, alt: str) -> Film:
    """Tiles (F, B, H, W, 4) as a film of F sheets; what would make its picture too high is left out."""
    height = math.ceil(tiles.shape[1] / columns) * (tiles.shape[2] + GAP)
    chosen = spread(len(tiles), LONGEST // height)
    strip = np.concatenate([sheet(tiles[frame], columns) for frame in chosen])
    return Film(picture(strip, alt), [at[each] for each in chosen], [captions[each] for each in chosen], total)


def spread(count: int, most: int) -> list[int]:
    """All of the numbers below `count`, or as many as `most` of them, evenly spread from the first to the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
