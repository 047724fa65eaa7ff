"""Folders of files, sorted into splits and classes by the folders within them."""

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from mmgen.core.errors import UserError
from mmgen.core.text_file import read_lines
from mmgen.core.vocabulary import NO_CLASS, FreeText
from mmgen.data.sources.base import Samples, Source, SplitName
from mmgen.data.sources.caption_files import add_captions, vocabulary_of
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import Kind, files, folders, listed_files, notice

SMALLEST_CROP = 0.8  # share of the short side that a random crop keeps at least, as ADM's `random_crop_arr`


class FolderSource(Source):
    """Files in `root/train/CLASS/*` and `root/val/CLASS/*`, or in `root/CLASS/*`, or `root/*` without classes.

    Where there is no `val`, number i of the sorted files is held out when i % held_out == 0.
    """

    kind: ClassVar[Kind]
    augment: str
    """What training sees."""

    def open_folder(self, root: str | Path, held_out: int, names: str | None, check: bool, splits: bool = True) -> None:
        """Finds classes, and the folders `train` and `val` where these are `splits`; `names` is a text file of what
        classes are called. Raises UserError where there is no such folder, or no such file in it.
        """
        self.root, self.held_out, self.check = Path(root), held_out, check
        self.train, self.val = split_folders(self.root, self.kind) if splits else (self.root, None)
        list_of_names = None if names is None else Path(names)
        self.class_folders, self.class_names = find_classes(self.train, list_of_names, self.kind)

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
        listings: dict[SplitName, Listing] = {"train": self._list_folder(self.train, 0)}
        return listings if self.val is None else listings | {"val": self._list_folder(self.val, len(listings["train"]))}

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

    def _list_folder(self, root: Path, first: int) -> Listing:
        """The files of one split, numbered from `first`. Raises UserError where its folders are not the classes."""
        names: list[str] = []
        labels: list[int] = []
        for label, folder in _labelled_folders(root, self.class_folders, self.kind):
            inside = [str(Path(folder, name)) for name in files(root / folder, self.kind)]
            names += inside
            labels += [label] * len(inside)
        return Listing.of(root, names, labels, first)

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


def split_folders(root: Path, kind: Kind) -> tuple[Path, Path | None]:
    """The folder to train on, and the one for validation if there is one."""
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder: data.source.root must hold {kind.word}s, in train/CLASS and val/CLASS or in CLASS"
        )
    train, val = root / "train", root / "val"
    if not train.is_dir() and val.is_dir():
        raise UserError(f"{root} has a folder val but none named train; name the training {kind.word}s' folder train")
    return (train, val if val.is_dir() else None) if train.is_dir() else (root, None)


def find_classes(root: Path, names: Path | None, kind: Kind) -> tuple[list[str], list[str]]:
    """(folders, names) of the classes, in order of the labels; none where the files lie in no folders. Folders without
    such files are no classes, which is reported. `names` is a text file: a line is a folder's name, a space, a name.
    """
    inner = folders(root)
    keys = [folder.name for folder in inner if next(files(folder, kind), None) is not None]
    loose = sum(1 for _ in files(root, kind, deep=False))
    if not keys and not loose:
        where = f"put them into one folder a class, or all into {root} without classes"
        raise UserError(f"{root} holds no {kind.word}s: {where}")
    if keys and loose:
        notice(f"{root}: {loose} {kind.word}(s) outside the class folders skipped")
    if len(keys) < len(inner):
        empty = [folder.name for folder in inner if folder.name not in keys]
        notice(f"{root}: {len(empty)} folder(s) without {kind.word}s are no class: {', '.join(empty[:5])}")
    lines = [] if names is None else read_lines(names, "data.source.names: ")
    pairs = (line.split(maxsplit=1) for line in lines)
    names_of = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
    if names is not None and not names_of.keys() & set(keys):
        raise UserError(f"{names} names no class folder of {root}: a line is a folder's name, a space, a name")
    return keys, [names_of.get(key, key) for key in keys]


def _labelled_folders(root: Path, classes: list[str], kind: Kind) -> list[tuple[int, str]]:
    """(label, folder) of all files in one split's folder."""
    if not classes:
        return [(NO_CLASS, "")]
    word = kind.word
    present = {folder.name for folder in folders(root) if next(files(folder, kind), None) is not None}
    unknown = sorted(present - set(classes))
    if unknown:
        raise UserError(f"{root / unknown[0]} is no class: the training {word}s have no folder of that name")
    if not present:
        raise UserError(
            f"{root} has no class folders with {word}s; sort its {word}s into the same folders as those to train on"
        )
    return [(label, key) for label, key in enumerate(classes) if key in present]
