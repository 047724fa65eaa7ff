"""Samples that are read from image files when they are needed, and cut to one shape."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import torch
from PIL import Image
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.sources.base import Batch, Samples
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import IMAGES, notice
from mmgen.media.images import crop, open_image

T = TypeVar("T")
Augment = Literal["crop", "flip", "none"]
SMALLEST_CROP = 0.8  # share of the short side that a random crop keeps at least, as ADM's `random_crop_arr`
_TRIES = 8  # unreadable files in a row that say the disk is at fault


class ListedSamples(Samples):
    """Samples of which each is read from a file of its own when it is needed.

    Args:
        listing: the files.
        word: what one of them is called.
    """

    def __init__(self, listing: Listing, word: str) -> None:
        self.listing, self.word = listing, word
        self._told: set[int] = set()

    def __len__(self) -> int:
        return len(self.listing)

    @property
    def captions(self) -> Captions | None:
        return self.listing.captions

    def batch(self, x: Sequence[Tensor], index: Tensor, draws: Draws | None = None) -> Batch:
        """What was read at the places index (b,), and their first captions, or those that are drawn."""
        batch = {"x": torch.stack(list(x)), "label": self.listing.labels[index], "sample": self.listing.numbers[index]}
        return batch if self.captions is None else batch | {"caption": self.captions.pick(index, draws)}

    def read_or_next(self, place: int, read: Callable[[int], T]) -> tuple[int, T]:
        """What `read` gives at a place, or at the next one where it raises no UserError; that is told once a place.

        Raises:
            UserError: several in a row cannot be read.
        """
        for step in range(_TRIES):
            other = (place + step) % len(self)
            try:
                return other, read(other)
            except UserError as error:
                last = error
                if other not in self._told:
                    self._told.add(other)
                    notice(f"{error}; the next {self.word} takes its place", every_rank=True)
        raise UserError(f"{_TRIES} {self.word}s in a row cannot be read, the last because {last}")


class FolderSamples(ListedSamples):
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
        super().__init__(listing, IMAGES.word)
        self.shape, self.augment = shape, augment

    def take(self, index: Tensor) -> Batch:
        return self.batch([crop(self._open(place), self.shape[1:]) for place in index.tolist()], index)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        opened = [self.read_or_next(place, self._open) for place in index.tolist()]
        index = torch.tensor([place for place, _ in opened])
        draws = Draws(seed, self.listing.numbers[index], epoch)
        cuts = draws.uniform("crop", 4).tolist()
        return self.batch([self._augment(image, *cut) for (_, image), cut in zip(opened, cuts)], index, draws)

    def _augment(self, image: Image.Image, scale: float, top: float, left: float, mirrored: float) -> Tensor:
        if self.augment == "crop":
            zoom = 1 / (1 - (1 - SMALLEST_CROP) * scale)
            return crop(image, self.shape[1:], zoom, top, left, mirrored < 0.5)
        return crop(image, self.shape[1:], mirrored=self.augment == "flip" and mirrored < 0.5)

    def _open(self, place: int) -> Image.Image:
        return open_image(self.listing.path(place), self.shape[0])
