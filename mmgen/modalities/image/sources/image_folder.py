"""Images in folders, a folder a class, as ImageNet is laid out; read when they are needed."""

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import FreeText
from mmgen.data.sources.base import Samples, Source, SplitName, check_split
from mmgen.data.sources.caption_files import add_captions, vocabulary_of
from mmgen.data.sources.classes import Classes, find_classes, split_folders
from mmgen.data.sources.folder_samples import Augment, FolderSamples
from mmgen.data.sources.listing import Listing, list_folder
from mmgen.data.sources.scan import IMAGES, scan
from mmgen.media.images import to_pil
from mmgen.modalities.image.sources.buckets import Buckets


def checked_sides(image_size: int | tuple[int, int], channels: int, held_out: int) -> tuple[int, int]:
    """Height and width of samples. Raises UserError for sizes, channels or a held-out share that cannot be."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < 1 or channels not in (1, 3) or held_out < 2:
        raise UserError(
            "data.source.image_size must be at least 1, data.source.channels 1 or 3, data.source.held_out at least"
            " 2, got"
            f" {image_size}, {channels} and {held_out}"
        )
    return height, width


class ImageFolder(Source):
    """Images in `root/train/CLASS/*` and `root/val/CLASS/*`, or in `root/CLASS/*`, or `root/*` without classes.

    Where there is no `val`, image number i of the sorted files is held out when i % held_out == 0. Grey, 16-bit, CMYK,
    palette, transparent and animated files are converted, unreadable ones skipped, a class folder without images left
    out: each told in one line, with a count. Captions are the lines of a text file beside an image (`0001.txt` of
    `0001.jpg`), or in tables `metadata.jsonl` or `captions.csv` (`mmgen.data.sources.caption_files.add_captions`);
    training draws one of each image's in every epoch. Folders and files whose names begin with a dot are ignored.

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
        check: open every file once before training. Without it a large folder starts at once, nothing is told of
            conversions, and damaged files are found when they are read.

    Raises:
        UserError: there is no such folder, or no image in it, or an argument is out of range.
    """

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
        height, width = checked_sides(image_size, channels, held_out)
        self.buckets = None if buckets is None else Buckets(tuple((tall, wide) for tall, wide in buckets))
        if self.buckets is not None and ((height, width) not in self.buckets.shapes or not check):
            raise UserError(
                "data.source.buckets must hold data.source.image_size, and needs data.source.check to know the"
                " images' shapes"
            )
        self.augment, self.held_out, self.check = augment, held_out, check
        self.sample_shape = self._shape = (channels, height, width)
        self.root = Path(root)
        self.train, self.val = split_folders(self.root, IMAGES)
        self._classes: Classes = find_classes(self.train, None if names is None else Path(names), IMAGES)
        self.class_names = self._classes.names
        self._splits: dict[str, FolderSamples] = {}
        self._sizes: Tensor | None = None

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if not self._splits:
            self._splits = self._read()
        return self._splits[split]

    @cached_property
    def caption_vocabulary(self) -> FreeText | None:
        return vocabulary_of(self._listings.values())

    def report(self) -> Table | None:
        """What each bucket holds, and how much it crops; None without buckets."""
        self.samples("train")
        if self.buckets is None or self._sizes is None:
            return None
        return self.buckets.report(self._sizes, self._shape[1:])

    def _read(self) -> dict[str, FolderSamples]:
        parts = {name: self._usable(listing) for name, listing in self._listings.items()}
        if self.val is None:
            parts = dict(zip(("train", "val"), parts["train"].hold_out(self.held_out)))
        if self.buckets is not None:
            sizes = {name: part.sizes for name, part in parts.items() if part.sizes is not None}
            self._sizes = torch.cat(list(sizes.values()))
            chosen = self.buckets.shapes.index(self._shape[1:])
            parts = {name: part.choose(self.buckets.assign(sizes[name]) == chosen) for name, part in parts.items()}
        splits = {}
        for name, part in parts.items():
            if not len(part):
                where = "" if self.buckets is None else f" of the bucket {list(self._shape[1:])}"
                raise UserError(
                    f"{part.root} has no images{where} for the {name} split: add some, or change data.source.root"
                )
            splits[name] = FolderSamples(part, self._shape, self.augment if name == "train" else "none")
        return splits

    @cached_property
    def _listings(self) -> dict[str, Listing]:
        """The images of each folder, unopened, by class and name, with their captions."""
        listings = {"train": list_folder(self.train, self._classes, first=0)}
        if self.val is not None:
            listings["val"] = list_folder(self.val, self._classes, first=len(listings["train"]))
        return add_captions(listings, self.root, IMAGES.word)

    def _usable(self, listing: Listing) -> Listing:
        """Without the images that cannot be read, if they are to be looked through at all."""
        if not self.check:
            return listing
        headers = scan(listing.root, [os.fsdecode(name) for name in listing.names], self._shape[0])
        kept = listing.choose(torch.tensor([header is not None for header in headers], dtype=torch.bool))
        sizes = [header.size for header in headers if header is not None]
        return replace(kept, sizes=torch.tensor(sizes, dtype=torch.int64).view(-1, 2))

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20, classes: int = 2) -> dict[str, Any]:
        """Writes noise of several sizes as JPEG and PNG files, one in five for validation, labels in turn.

        Args:
            path: a folder, made if it does not exist.
            samples: of both splits, at least 2.
            classes: number of class folders.

        Returns:
            the arguments that read them.
        """
        noise = Draws(0, torch.arange(samples)).uniform("fake images", 3, 40, 52).float() * 2 - 1
        for number, image in enumerate(noise):
            split = "train" if number % 5 else "val"
            folder = Path(path) / split / f"n{number // 5 % classes:08d}"
            folder.mkdir(parents=True, exist_ok=True)
            to_pil(image[:, : 40 - number % 3 * 6]).save(folder / f"{number:05d}.{('JPEG', 'png')[number % 2]}")
        return {"root": str(path)}
