"""Images in .tar shards, as WebDataset lays them out; read from their place in a shard when they are needed."""

import io
import os
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, Self

import torch
from PIL import Image
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS, FreeText
from mmgen.data.shard_stream import ShardStream
from mmgen.data.sources.base import Samples, Source, SplitName, check_split
from mmgen.data.sources.caption_files import report_missing, vocabulary_of
from mmgen.data.sources.folder_samples import Augment, FolderSamples
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import IMAGES
from mmgen.data.sources.tar_index import TarIndex, index_folder
from mmgen.data.stream import Stream
from mmgen.media.images import open_image
from mmgen.modalities.image.sources.image_folder import checked_sides
from mmgen.modalities.image.sources.tar_write import NAMES, write_split


@dataclass(frozen=True)
class TarListing(Listing):
    """Images that are stretches of shards; `names` are those within the shards.

    Args:
        index: of the folder.
        rows: (n,) int64, which of its samples these are.
    """

    index: TarIndex | None = None
    rows: Tensor | None = None

    @classmethod
    def of(cls, index: TarIndex, first: int) -> "TarListing":
        """All samples of a folder, numbered from `first`."""
        rows = torch.arange(len(index.names))
        numbers, captions = first + rows, index.captions
        return cls(index.folder, index.names, index.label, numbers, captions=captions, index=index, rows=rows)

    def choose(self, rows: Tensor) -> Self:
        """Some of them; rows (n,) bool."""
        assert self.rows is not None
        return replace(super().choose(rows), rows=self.rows[rows])

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples of each shard that has any, in order."""
        assert self.index is not None and self.rows is not None
        return tuple(self.index.shard[self.rows].unique_consecutive(return_counts=True)[1].tolist())

    def open(self, place: int) -> "_Stretch":
        """The bytes of the image at a place."""
        assert self.index is not None and self.rows is not None
        row, index = int(self.rows[place]), self.index
        path = index.folder / index.shards[int(index.shard[row])]
        name = os.fsdecode(self.names[place])
        try:
            data = os.pread(_opened(path), int(index.size[row]), int(index.offset[row]))
        except OSError as error:
            raise UserError(f"shard {path} cannot be read ({error.strerror or error})") from None
        return _Stretch(data, f"{name} in {path}")


class _Stretch(io.BytesIO):
    """Bytes that messages have a name for."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.told = name

    def __str__(self) -> str:
        return self.told


class _File:
    """A file that is closed when nobody has it any more."""

    def __init__(self, path: Path) -> None:
        self.handle = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.handle)


@lru_cache(maxsize=64)
def _file(path: Path) -> _File:
    return _File(path)


def _opened(path: Path) -> int:
    return _file(path).handle


class TarSamples(FolderSamples):
    """Images in shards; otherwise as those in folders, damaged ones included."""

    listing: TarListing

    def _open(self, place: int) -> Image.Image:
        return open_image(self.listing.open(place), self.shape[0])  # type: ignore[arg-type]  # Pillow takes files too


class WebDataset(Source):
    """Images in `root/train/*.tar` and `root/val/*.tar`, or in `root/*.tar`, each with a label or without.

    A shard holds `KEY.jpg` (or another image), `KEY.cls` or `KEY.json` with its label, and `KEY.txt` (a caption a line)
    or `KEY.json` (`caption` or `text`) with its captions, file after file, as WebDataset's writers and `mmgen shards`
    leave them. It is walked through once; where its samples lie is kept in a file beside the shards, so that later
    starts are quick and any sample can be read at any time. Training draws one of each image's captions in every epoch.

    Args:
        root: the folder.
        image_size: side of a sample, or [height, width].
        channels: 3 for colour, 1 for grey.
        augment: what training sees: `crop`, `flip` or `none`, as for `ImageFolder`.
        held_out: one in so many is held out, where there is no `val`.
        names: a text file with the name of a class a line; `root/classes.txt` by default, or the numbers.
        bad_shards: `refuse` to train where a shard is truncated or damaged, or `skip` it whole, which is told.

        window: shards whose samples are shuffled together; shards themselves are shuffled anyway.

    Raises:
        UserError: there is no such folder, or no shard in it, or a damaged one, or labels without names.
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
        if window < 1:
            raise UserError(f"data.source.window {window} must be at least 1 shard")
        self.window = window
        height, width = checked_sides(image_size, channels, held_out)
        self.sample_shape = self._shape = (channels, height, width)
        self.listings = _with_captions(_split(Path(root), held_out, bad_shards == "skip"), Path(root))
        self.class_names = _class_names(Path(root), None if names is None else Path(names), self.listings)
        self._splits = {
            name: TarSamples(part, self._shape, augment if name == "train" else "none")
            for name, part in self.listings.items()
        }

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        return self._splits[split]

    @cached_property
    def caption_vocabulary(self) -> FreeText | None:
        return vocabulary_of(self.listings.values())

    def stream(self, seed: int) -> Stream:
        """The order of training, by shards."""
        counts = self.listings["train"].counts
        return ShardStream(sum(counts), seed, counts, self.window)

    @property
    def order(self) -> dict[str, int]:
        return {"window": self.window}

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20, classes: int = 2, per_shard: int = 5) -> dict[str, Any]:
        """Writes noise as PNG into shards, one in five samples for validation, labels in turn.

        Returns:
            the arguments that read them.
        """
        noise = Draws(0, torch.arange(samples)).uniform("fake images", 3, 40, 52).float() * 2 - 1
        labels = torch.arange(samples) // 5 % classes
        for split, chosen in (("train", torch.arange(samples) % 5 > 0), ("val", torch.arange(samples) % 5 == 0)):
            write_split(Path(path) / split, zip(noise[chosen], labels[chosen].tolist(), repeat([])), per_shard)
        return {"root": str(path)}


def _split(root: Path, held_out: int, skip_bad: bool) -> dict[str, TarListing]:
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder: data.source.root must hold .tar shards, in train and val or by themselves"
        )
    train, val = root / "train", root / "val"
    if train.is_dir() != val.is_dir():
        there, missing = (train, val) if train.is_dir() else (val, train)
        raise UserError(f"{root} has a folder {there.name} but none named {missing.name}; put all shards into {root}")
    if train.is_dir():
        first = TarListing.of(index_folder(train, skip_bad), 0)
        return {"train": first, "val": TarListing.of(index_folder(val, skip_bad), len(first))}
    whole = TarListing.of(index_folder(root, skip_bad), 0)
    out = whole.numbers % held_out == 0
    parts = {"train": whole.choose(~out), "val": whole.choose(out)}
    if not len(parts["train"]):
        raise UserError(f"{root} holds {len(whole)} sample(s), too few to hold one in {held_out} out: add some")
    return parts


def _with_captions(listings: dict[str, TarListing], root: Path) -> dict[str, TarListing]:
    """Without captions if no sample has one; otherwise says how many have none."""
    captions = [each.captions for each in listings.values() if each.captions is not None]
    missing, total = sum(each.missing for each in captions), sum(map(len, captions))
    if missing == total:
        return {name: replace(each, captions=None) for name, each in listings.items()}
    report_missing(root, missing, total, IMAGES.word)
    return listings


def _class_names(root: Path, file: Path | None, listings: dict[str, TarListing]) -> list[str]:
    labels = torch.cat([each.labels for each in listings.values()])
    highest = int(labels.max())
    if highest == NO_CLASS:
        return []
    if bool((labels == NO_CLASS).any()):
        count = int((labels == NO_CLASS).sum())
        raise UserError(f"{root}: {count} of {len(labels)} samples have no label: give all of them one, or none")
    if file is None and (root / NAMES).is_file():
        file = root / NAMES
    if file is None:
        return [str(number) for number in range(highest + 1)]
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"data.source.names: {file} cannot be read ({' '.join(str(error).split())})") from None
    if len(names) <= highest:
        raise UserError(f"{file} names {len(names)} classes, but a sample has the label {highest}, counted from 0")
    return names
