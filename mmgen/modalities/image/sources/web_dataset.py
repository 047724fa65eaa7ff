"""Images in .tar shards, as WebDataset lays them out; read from their place in a shard when they are needed."""

import io
import os
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.text_file import read_lines
from mmgen.core.vocabulary import NO_CLASS, FreeText
from mmgen.data.sources.base import Samples, Source, SplitName, require_at_least
from mmgen.data.sources.caption_files import report_missing, vocabulary_of
from mmgen.data.sources.folder_layout import split_folders
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import IMAGES
from mmgen.data.stream import ShardStream, Stream
from mmgen.media.image_file import open_image
from mmgen.modalities.image.sources.image_folder import Augment, ImageSamples, sample_shape
from mmgen.modalities.image.sources.tar_index import SHARDS, index_folder
from mmgen.modalities.image.sources.tar_write import NAMES, write_split


class _Bytes(io.BytesIO):
    """Bytes that messages have a name for."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.source = name

    def __str__(self) -> str:
        return self.source


class _File:
    """A file that is closed when nobody has it any more."""

    def __init__(self, path: Path) -> None:
        self.handle = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.handle)


_open_file = lru_cache(maxsize=64)(_File)


class TarSamples(ImageSamples):
    """Images in shards; otherwise as those in folders, damaged ones included."""

    def open(self, place: int) -> Image.Image:
        shard, _, name = self.listing.name(place).partition("/")
        path, more = self.listing.root / shard, self.listing.more
        try:
            data = os.pread(_open_file(path).handle, int(more["size"][place]), int(more["offset"][place]))
        except OSError as error:
            raise UserError(f"shard {path} cannot be read ({error.strerror or error})") from None
        file = _Bytes(data, f"{name} in {path}")
        return open_image(file, self.shape[0], partial(self.report, str(file)))


class WebDataset(Source):
    """Images in `root/train/*.tar` and `root/val/*.tar`, or in `root/*.tar`, each with a label or without.

    A shard holds `KEY.jpg` (or another image), `KEY.cls` or `KEY.json` with its label, and `KEY.txt` (a caption a line)
    or `KEY.json` (`caption` or `text`) with its captions, as WebDataset's writers and `mmgen shards` leave them; files
    of one key may stand apart. Links within a shard are followed, and what is not read is reported with a count. A
    shard is walked through once; where its samples lie is saved in a file in the shards' folder, so that later starts
    are quick and any sample can be read at any time. Training draws one of each image's captions in every epoch.

    Args:
        root: the folder.
        image_size: side of a sample, or [height, width].
        channels: 3 for colour, 1 for grey.
        augment: what training sees: `crop`, `flip` or `none`, as for `ImageFolder`.
        held_out: one in so many is held out, where there is no `val`.
        names: a text file with the name of a class a line; `root/classes.txt` by default, or the numbers.
        bad_shards: `refuse` to train where a shard is truncated or damaged, or `skip` it whole and report it.
        window: shards whose samples are shuffled together; shards themselves are shuffled anyway.
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
        bad_shards: Literal["refuse", "skip"] = "refuse",
        window: int = 16,
    ) -> None:
        require_at_least(1, window=window)
        require_at_least(2, held_out=held_out)
        self.window, self.augment = window, augment
        self.sample_shape = self.shape = sample_shape(image_size, channels)
        self.listings = _with_captions(_split(Path(root), held_out, bad_shards == "skip"), Path(root))
        self.class_names = _class_names(Path(root), None if names is None else Path(names), self.listings)

    def load_split(self, split: SplitName) -> Samples:
        return TarSamples(self.listings[split], self.shape, self.augment if split == "train" else "none", unseen=True)

    @cached_property
    def caption_vocabulary(self) -> FreeText | None:
        return vocabulary_of(self.listings.values())

    def stream(self, seed: int) -> Stream:
        """The order of training, by shards."""
        counts = self.listings["train"].more["shard"].unique_consecutive(return_counts=True)[1].tolist()
        return ShardStream(sum(counts), seed, tuple(counts), self.window)

    @property
    def order(self) -> dict[str, int]:
        return {"window": self.window}

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20, classes: int = 2, per_shard: int = 5) -> dict[str, Any]:
        """Noise as PNG in shards, one in five samples for validation, of so many classes."""
        number = torch.arange(samples)
        noise = Draws(0, number).uniform("fake images", 3, 40, 52).float() * 2 - 1
        for split, rows in (("train", number % 5 > 0), ("val", number % 5 == 0)):
            labels = (number[rows] // 5 % classes).tolist()
            write_split(Path(path) / split, zip(noise[rows], labels, repeat([])), per_shard)
        return {"root": str(path)}


def _split(root: Path, held_out: int, skip_bad: bool) -> dict[SplitName, Listing]:
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder: data.source.root must hold .tar shards, in train and val or by themselves"
        )
    train, val = split_folders(root, SHARDS)
    if train != root and val is None:
        raise UserError(f"{root} has a folder {train.name} but none named val; put all shards into {root}")
    if val is not None:
        listing = index_folder(train, skip_bad)
        return {"train": listing, "val": index_folder(val, skip_bad, len(listing))}
    listing = index_folder(root, skip_bad)
    rest, out = listing.hold_out(held_out)
    if not len(rest):
        raise UserError(f"{root} holds {len(listing)} sample(s), too few to hold one in {held_out} out: add some")
    return {"train": rest, "val": out}


def _with_captions(listings: dict[SplitName, Listing], root: Path) -> dict[SplitName, Listing]:
    """Without captions if no sample has one; otherwise reports how many have none."""
    captions = [listing.captions for listing in listings.values() if listing.captions is not None]
    if all(part.missing == len(part) for part in captions):
        return {split: replace(listing, captions=None) for split, listing in listings.items()}
    report_missing(root, captions, IMAGES.word)
    return listings


def _class_names(root: Path, file: Path | None, listings: dict[SplitName, Listing]) -> list[str]:
    labels = torch.cat([listing.labels for listing in listings.values()])
    highest, unknown = int(labels.max()), int((labels == NO_CLASS).sum())
    if highest == NO_CLASS:
        return []
    if unknown:
        raise UserError(f"{root}: {unknown} of {len(labels)} samples have no label: give all of them one, or none")
    if file is None and not (root / NAMES).is_file():
        return [str(number) for number in range(highest + 1)]
    file = root / NAMES if file is None else file
    names = [line.strip() for line in read_lines(file, "data.source.names: ")]
    while names and not names[-1]:
        names.pop()
    if not all(names):
        raise UserError(f"{file}, line {names.index('') + 1}: a class has no name, and a line is the name of a class")
    if len(names) <= highest:
        raise UserError(f"{file} names {len(names)} classes, but a sample has the label {highest}, counted from 0")
    return names
