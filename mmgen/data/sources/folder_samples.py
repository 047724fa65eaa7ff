"""Samples that are read from image files when they are needed, and cut to one shape."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmgen.data.buckets import Shape
from mmgen.data.sources.base import Batch, Samples
from mmgen.data.sources.scan import notice
from mmgen.draws import Draws
from mmgen.errors import UserError
from mmgen.imaging import from_pil, open_image

Augment = Literal["crop", "flip", "none"]
_SMALLEST_CROP = 0.8  # share of the short side that a random crop keeps at least, as ADM's `random_crop_arr`
_TRIES = 8  # unreadable files in a row that say the disk is at fault


@dataclass(frozen=True)
class Listing:
    """The readable images of a folder.

    Args:
        root: the folder.
        names: (n,) bytes, paths relative to it. One array, because a list of a million strings would be copied into
            every loading process as soon as that counts its references.
        labels: (n,) int64.
        numbers: (n,) int64 numbers in the whole data set, unreadable files counted too.
        sizes: (n, 2) int64 heights and widths; None where no file was opened.
    """

    root: Path
    names: np.ndarray
    labels: Tensor
    numbers: Tensor
    sizes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    def choose(self, rows: Tensor) -> "Listing":
        """Some of them; rows (n,) bool."""
        sizes = None if self.sizes is None else self.sizes[rows]
        return Listing(self.root, self.names[rows.numpy()], self.labels[rows], self.numbers[rows], sizes)


class FolderSamples(Samples):
    """Images read from files, scaled until they cover the shape, and cut to it.

    `take` cuts the centre. Training sees what `augment` says. A file that turns out to be damaged when it is read ends
    `take` in one line, so that no figure is measured on other images than it says; training goes on with the next
    readable sample in its place, the same one on every machine, and tells it once.

    Args:
        listing: the files.
        shape: (C, H, W) of a sample.
        augment: of training; `none` for validation.
    """

    def __init__(self, listing: Listing, shape: tuple[int, int, int], augment: Augment) -> None:
        self.listing, self.shape, self.augment = listing, shape, augment
        self._told: set[int] = set()

    def __len__(self) -> int:
        return len(self.listing)

    def take(self, index: Tensor) -> Batch:
        return self._batch([crop(self._open(place), self.shape[1:]) for place in index.tolist()], index)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        opened = [self._open_or_next(place) for place in index.tolist()]
        index = torch.tensor([place for place, _ in opened])
        draws = Draws(seed, self.listing.numbers[index], epoch).uniform("crop", 4).tolist()
        images = [self._augment(image, *draw) for (_, image), draw in zip(opened, draws)]
        return self._batch(images, index)

    def _augment(self, image: Image.Image, scale: float, top: float, left: float, mirrored: float) -> Tensor:
        if self.augment == "crop":
            zoom = 1 / (1 - (1 - _SMALLEST_CROP) * scale)
            return crop(image, self.shape[1:], zoom, top, left, mirrored < 0.5)
        return crop(image, self.shape[1:], mirrored=self.augment == "flip" and mirrored < 0.5)

    def _batch(self, images: list[Tensor], index: Tensor) -> Batch:
        return {"x": torch.stack(images), "label": self.listing.labels[index], "sample": self.listing.numbers[index]}

    def _open(self, place: int) -> Image.Image:
        return open_image(self.listing.root / os.fsdecode(self.listing.names[place]), self.shape[0])

    def _open_or_next(self, place: int) -> tuple[int, Image.Image]:
        for step in range(_TRIES):
            other = (place + step) % len(self)
            try:
                return other, self._open(other)
            except UserError as error:
                last = error
                if other not in self._told:
                    self._told.add(other)
                    notice(f"{error}; the next image takes its place", every_rank=True)
        raise UserError(f"{_TRIES} images in a row cannot be read, the last because {last}")


def crop(
    image: Image.Image, size: Shape, zoom: float = 1.0, top: float = 0.5, left: float = 0.5, mirrored: bool = False
) -> Tensor:
    """An image as (C, H, W) floats in [-1, 1]: scaled with antialiasing until it covers `size`, and cut to it.

    Args:
        image: of mode L or RGB.
        size: (H, W) of the result.
        zoom: how much larger than needed it is scaled, at least 1.
        top: where the cut lies, 0 at the upper edge and 1 at the lower one.
        left: the same across.
        mirrored: left and right change places.
    """
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    height, width = size
    tall, wide = round(height * zoom), round(width * zoom)
    if tall * image.width >= wide * image.height:  # in whole numbers, so that neither side ends a pixel short
        scaled = tall, tall * image.width // image.height
    else:
        scaled = wide * image.height // image.width, wide
    whole = F.resize(image, scaled, InterpolationMode.BICUBIC, antialias=True)
    cut = F.crop(whole, round(top * (scaled[0] - height)), round(left * (scaled[1] - width)), height, width)
    return from_pil(F.horizontal_flip(cut) if mirrored else cut)
