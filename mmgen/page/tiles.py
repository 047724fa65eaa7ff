"""Sheets of small images with transparent gaps, so that they lie well on a light and on a dark page."""

import io
import math

import numpy as np
from einops import rearrange, repeat
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmgen.media.images import to_uint8
from mmgen.page.page import Picture, data_uri

Pixels = NDArray[np.uint8]
"""(..., H, W, 4): red, green, blue, opacity."""

LONGEST = 16_383
"""Pixels that a side of a WebP picture may have."""

OPEN = (128, 128, 128, 44)  # places that hold nothing yet, on any ground
WRONG = (226, 88, 59, 255)
_FRESH = 0.55  # share of the accent over a place that has just been filled


def pixels(images: Tensor, times: int = 1) -> Pixels:
    """(..., C, H, W) in [-1, 1], grey or colour, to opaque pixels (..., times * H, times * W, 4)."""
    colour = repeat(
        to_uint8(images), "... c h w -> ... (h a) (w b) (k c)", a=times, b=times, k=3 // images.shape[-3]
    ).numpy()
    return np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=-1)


def cover(
    image: Pixels, committed: Tensor, fresh: Tensor | None = None, accent: tuple[int, int, int] = (0, 0, 0)
) -> Pixels:
    """Grey out the places that are open, and tint those that were filled just now.

    Args:
        image: (..., H, W, 4).
        committed: (..., h, w) bool over a grid, no finer than the pixels.
        fresh: (..., h, w) bool, places to be tinted; None for none.
        accent: red, green, blue of the tint.
    """
    rows, columns = (np.arange(size) * cells // size for size, cells in zip(image.shape[-3:-1], committed.shape[-2:]))

    def spread(grid: Tensor) -> NDArray[np.bool_]:
        return grid.numpy()[..., rows[:, None], columns]

    ends = [np.append(np.diff(each) > 0, True) for each in (rows, columns)]
    wide = [max(1, size // cells // 8) for size, cells in zip(image.shape[-3:-1], committed.shape[-2:])]
    seams = [np.convolve(each, np.ones(width))[width - 1 :] > 0 for each, width in zip(ends, wide)]
    empty = np.array([OPEN, (0, 0, 0, 0)], dtype=np.uint8)[(seams[0][:, None] | seams[1]).astype(int)]
    covered = np.where(spread(committed)[..., None], image, empty)
    if fresh is not None:
        places = spread(fresh)
        covered[places] = (1 - _FRESH) * covered[places] + _FRESH * np.array([*accent, 255])
    return covered


def sheet(tiles: Pixels, columns: int, gap: int = 4, marked: Tensor | None = None) -> Pixels:
    """(B, H, W, 4) side by side, row by row, as one (H', W', 4).

    Args:
        tiles: of one size.
        columns: tiles a row.
        gap: transparent pixels between tiles.
        marked: (B,) bool, tiles that get a frame.
    """
    rows = math.ceil(len(tiles) / columns)
    framed = np.zeros((rows * columns, tiles.shape[1] + gap, tiles.shape[2] + gap, 4), dtype=np.uint8)
    framed[: len(tiles), : tiles.shape[1], : tiles.shape[2]] = tiles
    if marked is not None:
        for index in marked.nonzero()[:, 0].tolist():
            inner = framed[index, : tiles.shape[1], : tiles.shape[2]]
            width = max(1, len(inner) // 24)
            inner[:width] = inner[-width:] = inner[:, :width] = inner[:, -width:] = WRONG
    return rearrange(framed, "(r c) h w k -> (r h) (c w) k", c=columns)[
        : rows * framed.shape[1] - gap, : columns * framed.shape[2] - gap
    ]


def strip(frames: list[Pixels]) -> Pixels:
    """Frames (H, W, 4) under each other."""
    return np.concatenate(frames)


def picture(image: Pixels, alt: str) -> Picture:
    """(H, W, 4) as a picture of the page. Neither side may be longer than `LONGEST`."""
    return Picture(data_uri(webp_bytes(image), "image/webp"), alt, image.shape[1], image.shape[0])


def webp_bytes(image: Pixels | Image.Image) -> bytes:
    """Pixels (H, W, 4), or an image, as a WebP file without loss."""
    buffer = io.BytesIO()
    drawn = image if isinstance(image, Image.Image) else Image.fromarray(image)
    drawn.save(buffer, format="WEBP", lossless=True, quality=40)
    return buffer.getvalue()


def spread(count: int, most: int) -> list[int]:
    """All of the numbers below `count`, or as many as `most` of them, evenly spread from the first to the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
