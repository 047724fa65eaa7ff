"""Images in folders, a folder a class, as ImageNet is laid out; read when they are needed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from rich.table import Table
from torch import Tensor
from torch.utils.data import get_worker_info

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.sources.base import Samples, require_argument, require_at_least
from mmgen.data.sources.folder import SMALLEST_CROP, FolderSource
from mmgen.data.sources.listing import ListedSamples, Listing, usable
from mmgen.data.sources.scan import IMAGES, notice
from mmgen.media.image_file import open_image, read_header
from mmgen.media.images import crop, to_pil
from mmgen.modalities.image.sources.buckets import Buckets

Augment = Literal["crop", "flip", "none"]


class ImageSamples(ListedSamples):
    """Images read from files, scaled until they cover the shape (C, H, W), and cut to it; `take` cuts the centre.

    Where the files are `unseen`, not looked through before, the first of each kind that is converted is reported.
    """

    draws = "crop", 4

    def __init__(self, listing: Listing, shape: tuple[int, int, int], augment: Augment, unseen: bool = False) -> None:
        super().__init__(listing, IMAGES.word, augment != "none")
        self.shape, self.augment, self.unseen = shape, augment, unseen
        self._conversions: set[str] = set()

    def read(self, place: int, draws: Sequence[float] | None) -> Tensor:
        image, size = self.open(place), self.shape[1:]
        if draws is None:
            return crop(image, size)
        scale, top, left, mirrored = draws
        if self.augment == "flip":
            return crop(image, size, mirrored=mirrored < 0.5)
        return crop(image, size, 1 / (1 - (1 - SMALLEST_CROP) * scale), top, left, mirrored < 0.5)

    def open(self, place: int) -> Image.Image:
        """The whole image at a place."""
        path = self.listing.path(place)
        return open_image(path, self.shape[0], partial(self.report, str(path)))

    def report(self, name: str, conversions: Iterable[str]) -> None:
        """Logs what reading an image changes, unless it is known; the first of several workers does it for all."""
        worker = get_worker_info()
        if self.unseen and (worker is None or worker.id == 0):
            for change in set(conversions) - self._conversions:
                self._conversions.add(change)
                notice(f"{name}: {change}; further ones are not named")


def sample_shape(image_size: int | tuple[int, int], channels: int) -> tuple[int, int, int]:
    """(C, H, W) of samples. Raises UserError for sizes or channels that cannot be."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    require_at_least(1, image_size=min(height, width))
    require_argument(channels in (1, 3), "channels", "1 or 3", channels)
    return channels, height, width


class ImageFolder(FolderSource):
    """Images in `root/train/CLASS/*` and `root/val/CLASS/*`, or in `root/CLASS/*`, or `root/*` without classes.

    Splits may have other names, such as `Train` and `validation`, and all may lie one folder deeper. Where there is no
    `val`, image number i of the sorted files is held out when i % held_out == 0. Grey, 16-bit, CMYK, palette,
    transparent and animated files, and those with a colour profile, are converted, unreadable ones skipped, class
    folders without images left out: each is reported in one line, with a count and an example. Captions are the lines
    of a text file of the image's name (`0001.txt` of `0001.jpg`), or in tables `metadata.jsonl` or `captions.csv`
    (`mmgen.data.sources.caption_files.add_captions`); training draws one of each image's in every epoch. What else is
    there is left aside, and counted in one line (`mmgen.data.sources.search.search_folder`).

    Args:
        root: the folder.
        image_size: side of a sample, or [height, width].
        channels: 3 for colour, 1 for grey.
        augment: what training sees: `crop` (ADM's: up to 1 / 0.8 larger than the sample, cut at random, mirrored or
            not), `flip` (the centre, mirrored or not), or `none`.
        held_out: one in so many is held out, where there is no `val`.
        names: a text file with a line for each class: the name of its folder, a space, the name to show.
        buckets: shapes [height, width] of about equal area, image_size among them: only images whose aspect ratio is
            nearer to image_size's than to any other's are taken.
        check: open every file once before training. Without it a large folder starts at once, and files that cannot be
            read are found when they are needed.
    """

    kind = IMAGES
    crop = "the centre, scaled bicubically with antialiasing"

    def __init__(
        self,
        root: str | Path,
        image_size: int | tuple[int, int] = 256,
        channels: int = 3,
        augment: Augment = "crop",
        held_out: int = 10,
        names: str | None = None,
        buckets: list[tuple[int, int]] | None = None,
        check: bool = True,
    ) -> None:
        self.sample_shape = self.shape = sample_shape(image_size, channels)
        require_at_least(2, held_out=held_out)
        self.buckets = None if buckets is None else Buckets(tuple((tall, wide) for tall, wide in buckets))
        if self.buckets is not None and (self.shape[1:] not in self.buckets.shapes or not check):
            raise UserError(
                "data.source.buckets must hold data.source.image_size, and needs data.source.check to know the"
                " images' shapes"
            )
        self.augment = augment
        self.open_folder(root, held_out, names, check)

    def report(self) -> Table | None:
        """What each bucket holds, and how much it crops; None without buckets."""
        if self.buckets is None:
            return None
        sizes = torch.cat([listing.more["size"] for listing in self.usable_files.values()])
        return self.buckets.report(sizes, self.shape[1:])

    def choose_files(self, listing: Listing) -> Listing:
        if self.buckets is None:
            return listing
        bucket = self.buckets.shapes.index(self.shape[1:])
        return listing.choose(self.buckets.assign(listing.more["size"]) == bucket)

    def describe_needed(self) -> str:
        return "images" if self.buckets is None else f"images of the bucket {list(self.shape[1:])}"

    def read_listing(self, listing: Listing, augment: Augment) -> Samples:
        return ImageSamples(listing, self.shape, augment, unseen=not self.check)

    def check_files(self, listing: Listing) -> Listing:
        read = partial(read_header, channels=self.shape[0])
        listing, headers = usable(listing, IMAGES, read, attrgetter("conversions"))
        sizes = torch.tensor([header.size for header in headers], dtype=torch.int64).view(-1, 2)
        return replace(listing, more={"size": sizes})

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20, classes: int = 2) -> dict[str, Any]:
        """Noise of several sizes as JPEG and PNG files, one in five for validation, in so many class folders."""
        noise = Draws(0, torch.arange(samples)).uniform("fake images", 3, 40, 52).float() * 2 - 1
        for number, image in enumerate(noise):
            split = "train" if number % 5 else "val"
            folder = Path(path) / split / f"n{number // 5 % classes:08d}"
            folder.mkdir(parents=True, exist_ok=True)
            to_pil(image[:, : 40 - number % 3 * 6]).save(folder / f"{number:05d}.{('JPEG', 'png')[number % 2]}")
        return {"root": str(path)}
