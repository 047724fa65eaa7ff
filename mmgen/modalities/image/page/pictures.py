"""The pictures of images on a page."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from mmgen.modalities.image.page.film import SamplerFilm
from mmgen.page.chapter import Column
from mmgen.page.page import Picture
from mmgen.page.tiles import LONGEST, Film, Pixels, cover, picture, pixels, sheet, spread
from mmgen.page.wording import PALETTE, join_words

_SMALL = 84  # pixels that small images are enlarged to in the file; the browser fits them to the screen
_LARGE = 192  # pixels that large ones are shrunk to
_STILLS = 6


def read_images(files: Sequence[Path]) -> Tensor:
    """(B, C, H, W) in [-1, 1], of files of one size; large ones are shrunk, as they are shown small."""
    images = []
    for file in files:
        with Image.open(file) as opened:
            image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
            image.thumbnail((_LARGE, _LARGE))
            array = np.atleast_3d(np.array(image))
        images.append(rearrange(torch.from_numpy(array).float() / 127.5 - 1, "h w c -> c h w"))
    return torch.stack(images)


def tiles(images: Tensor) -> Pixels:
    """(..., C, H, W) in [-1, 1] as pixels, small ones enlarged."""
    return pixels(images, max(1, _SMALL // images.shape[-2]))


def pairs(originals: Tensor, decoded: Tensor, alt: str, columns: int = 10) -> Picture:
    """Rows of real images, each above its row of reconstructions."""
    columns = min(columns, len(originals))
    whole = len(originals) // columns * columns
    both = torch.stack([originals[:whole], decoded[:whole]])
    return image_grid(rearrange(both, "two (r c) ... -> (r two c) ...", c=columns), columns, alt)


def image_grid(images: Tensor, columns: int, alt: str, wrong: Tensor | None = None) -> Picture:
    """Images row by row; those that a judge takes for another class framed."""
    return picture(sheet(tiles(images), columns, marked=wrong), alt)


def film_strip(film: SamplerFilm, column: Column) -> Film:
    """A film whose frames are under each other, each with all its images, in two rows where there are more than six."""
    count = film.images.shape[1]
    rows = 1 if count <= 6 else 2
    film = film.select(spread(len(film.passes), LONGEST // (rows * (len(tiles(film.images[0, 0].float())) + 4))))
    alt = f"{column.title}: {count} images from nothing to finished in {film.passes[-1]} passes of the network."
    frames = [sheet(frame, math.ceil(count / rows)) for frame in _film_tiles(film, column)]
    captions = [f"pass {number}" for number in film.passes[:-1]] + ["finished"]
    return Film(picture(np.concatenate(frames), alt), film.passes, captions, f"{film.passes[-1]} passes")


def stills(film: SamplerFilm, sample: int, column: Column) -> Picture:
    """A few states of one image in two rows."""
    count = len(film.passes)
    some = film.select(sorted({round((i + 1) * (count - 1) / _STILLS) for i in range(_STILLS)}))
    drawn = _film_tiles(some, column)[:, sample]
    alt = f"{column.title}: one image after {join_words([str(number) for number in some.passes])} passes."
    return picture(sheet(drawn, math.ceil(len(drawn) / 2)), alt)


def _film_tiles(film: SamplerFilm, column: Column) -> Pixels:
    """(F, B, H, W, 4): open places grey, those committed since the frame before tinted; the last frame as it is."""
    fresh = torch.zeros_like(film.committed)
    fresh[1:-1] = film.committed[1:-1] & ~film.committed[:-2]
    return cover(tiles(film.images.float() / 127.5 - 1), film.committed, fresh, PALETTE[column.colour])
