"""Folders of files, sorted into splits and classes by the folders within them."""

import os
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from mmgen.core.errors import UserError
from mmgen.core.text_file import read_lines
from mmgen.core.vocabulary import NO_CLASS, FreeText
from mmgen.data.sources.base import Samples, Source, SplitName
from mmgen.data.sources.caption_files import add_captions, vocabulary_of
from mmgen.data.sources.folder_layout import find_classes, search_splits
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import Kind, listed_files, notice
from mmgen.data.sources.search import FolderContents

SMALLEST_CROP = 0.8  # share of the short side that a random crop keeps at least, as ADM's `random_crop_arr`


class FolderSource(Source):
    """Files in `root/train/CLASS/*` and `root/val/CLASS/*`, or in `root/CLASS/*`, or `root/*` without classes.

    The folders of splits may also be called `Train`, `training_set`, `validation` and the like (`split_of`). Where
    there is none for validation, number i of the sorted files is held out when i % held_out == 0.
    """

    kind: ClassVar[Kind]
    augment: str
    """What training sees."""

    def open_folder(self, root: str | Path, held_out: int, names: str | None, check: bool, splits: bool = True) -> None:
        """Finds classes, and the folders of training and validation where these are `splits`; `names` is a text file of
        what classes are called. Raises UserError where there is no such folder, or no such file in it.
        """
        self.held_out, self.check = held_out, check
        self.root, train, val = search_splits(Path(root), self.kind, splits)
        self.class_folders, self.class_names = find_classes(train, None if names is None else Path(names), self.kind)
        self._folders: dict[SplitName, Listing] = {"train": _labelled(train, self.class_folders, self.kind, 0)}
        self.train = train.root
        if val is not None:
            first = len(self._folders["train"])
            self._folders["val"] = _labelled(val, self.class_folders, self.kind, first)

    @abstractmethod
    def check_files(self, listing: Listing) -> Listing:
        """The files that can be used, with what their headers say (`mmgen.data.sources.listing.usable`)."""

    @abstractmethod
    def read_listing(self, listing: Listing, augment: Any) -> Samples:
        """The samples of some files."""

    def describe_needed(self) -> str:
        """What a split without files lacks."""
        return f"{self.kind.word}s"

    def choose_files(self, listing: Listing) -> Listing:
        """Those of the usable files of a split that are its samples."""
        return listing

    @cached_property
    def caption_vocabulary(self) -> FreeText | None:
        return vocabulary_of(self._listings.values())

    def list_files(self) -> dict[SplitName, Listing]:
        """The files of the splits that are there, unopened, by class and name."""
        return self._folders

    def load_split(self, split: SplitName) -> Samples:
        listing = self.choose_files(self.usable_files[split])
        if not len(listing):
            raise UserError(
                f"{listing.root} has no {self.describe_needed()} for the {split} split: add some, or change"
                " data.source.root"
            )
        return self.read_listing(listing, self.augment if split == "train" else "none")

    @cached_property
    def usable_files(self) -> dict[SplitName, Listing]:
        """The files of each split that can be used."""
        parts = {split: self.check_files(each) if self.check else each for split, each in self._listings.items()}
        if len(parts) == 1:
            parts["train"], parts["val"] = parts["train"].hold_out(self.held_out)
        return parts

    @cached_property
    def _listings(self) -> dict[SplitName, Listing]:
        return add_captions(self.list_files(), self.root, self.kind.word)

    def list_lines(self, path: Path, first: int) -> Listing:
        """The files that a list names, unopened, in its order, numbered from `first`; reports missing ones.

        Lines are as in UCF-101's `trainlist01.txt`: CLASS/NAME, relative to `root`, and perhaps a space and a number,
        which is not read: labels are those of the folders.
        """
        lines = (_without_number(line.strip()) for line in read_lines(path, "list ") if line.strip())
        names = listed_files(path, lines, self.train, "file")
        labels = {key: label for label, key in enumerate(self.class_folders)}
        return Listing.of(self.train, names, [labels.get(Path(name).parts[0], NO_CLASS) for name in names], first)


def _without_number(line: str) -> str:
    name, _, last = line.rpartition(" ")
    return name.rstrip() if name and last.isdigit() else line


def _labelled(contents: FolderContents, classes: list[str], kind: Kind, first: int) -> Listing:
    """The files of one split, numbered from `first`. Raises UserError where its folders are not the classes."""
    root = contents.root
    if not classes:
        return Listing.of(root, contents.names, None, first)
    labels = {key: label for label, key in enumerate(classes)}
    pairs = [(name, name.partition(os.sep)[0]) for name in contents.names if os.sep in name]
    unknown = next((folder for _, folder in pairs if folder not in labels), None)
    if unknown is not None:
        raise UserError(f"{root / unknown} is no class: the training {kind.word}s have no folder of that name")
    if not pairs:
        raise UserError(
            f"{root} has no class folders with {kind.word}s; sort its {kind.word}s into the same folders as those to"
            " train on"
        )
    if loose := len(contents.names) - len(pairs):
        notice(f"{root}: {loose} {kind.word}(s) outside the class folders skipped")
    return Listing.of(root, [name for name, _ in pairs], [labels[folder] for _, folder in pairs], first)
