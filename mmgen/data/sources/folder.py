"""Folders of files, sorted into splits and classes by the folders within them."""

import os
import re
import unicodedata
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
from mmgen.data.sources.scan import Kind, listed_files, notice
from mmgen.data.sources.search import FolderContents, folders, search_folder

SMALLEST_CROP = 0.8  # share of the short side that a random crop keeps at least, as ADM's `random_crop_arr`

COMPANIONS = (".txt", "metadata.jsonl", "captions.csv")
"""Endings of files with captions, which belong to the samples."""

_EXAMPLES = 5  # folders that a line names
_SPLITS = {
    word: split
    for split, words in {
        "train": ("train", "training"),
        "val": ("val", "valid", "validate", "validation", "dev", "eval", "evaluation"),
        "test": ("test", "testing"),
    }.items()
    for word in words
}  # as people name the folders of splits


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


def search_splits(root: Path, kind: Kind, splits: bool = True) -> tuple[Path, FolderContents, FolderContents | None]:
    """The folder of the data set, what it holds to train on, and for validation if it has a folder for that.

    Where a folder holds nothing but another one, in which are the splits or the classes, that one is taken for it.
    What is left aside is reported.

    Raises:
        UserError: it is no folder, or one for validation without one for training.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder: data.source.root must hold {kind.word}s, in train/CLASS and val/CLASS or in CLASS"
        )
    train, val = split_folders(root, kind) if splits else (root, None)
    contents = search_folder(train, kind, companions=COMPANIONS)
    wrapper = Path(contents.wrapper())
    for around in [*reversed(wrapper.parents), wrapper] if splits and train == root else []:
        if around != Path() and any(split_of(folder, kind) for folder in folders(root / around)):
            _report_wrapper(root, around)
            return search_splits(root / around, kind)
    contents = _unwrap(contents) if splits else contents
    held_out = None
    if val is not None:
        held_out = search_folder(val, kind, companions=COMPANIONS)
        if not {folder for folder in held_out.counts() if folder} & set(contents.counts()):
            held_out = _unwrap(held_out)
        if shared := contents.entered.keys() & held_out.entered.keys():
            first = min((contents.entered[each], held_out.entered[each]) for each in shared)
            notice(f"{first[0]} and {first[1]} are one folder: its {kind.word}s are both trained on and held out")
    for each in (contents, held_out):
        if each is not None:
            each.left_aside.report(each.root)
    return root, contents, held_out


def _unwrap(contents: FolderContents) -> FolderContents:
    """What the one folder that holds all the class folders has in it, if there is one."""
    wrapper = contents.wrapper()
    if not wrapper:
        return contents
    _report_wrapper(contents.root, wrapper)
    return contents.within(wrapper)


def _report_wrapper(root: Path, wrapper: str | Path) -> None:
    notice(f"{root}: all is in its one folder {wrapper}, which is read in its place, and is no class")


def split_of(folder: str, kind: Kind) -> str | None:
    """The split that a folder's name speaks of, `train`, `val` or `test`, however it is written; None for no split."""
    words = "|".join(_SPLITS)
    match = re.fullmatch(rf"({words})[ _-]?(?:sets?|data|split|files?|{kind.word}s?|\d{{4}})?", folder.lower())
    return None if match is None else _SPLITS[match[1]]


def split_folders(root: Path, kind: Kind) -> tuple[Path, Path | None]:
    """The folder to train on, and the one for validation if there is one; the root itself where it has no splits.
    Folders beside them are reported, as they are not read.

    Raises:
        UserError: several folders for one split, one for validation or tests but none for training, or one for training
            that may be a class.
    """
    inner = folders(root)
    named = {split: [folder for folder in inner if split_of(folder, kind) == split] for split in _SPLITS.values()}
    for split, several in named.items():
        if len(several) > 1:
            raise UserError(f"{root} has several folders for the split {split}: {', '.join(several)}; keep one of them")
    if not named["train"]:
        other = [*named["val"], *named["test"]]
        if other:
            raise UserError(
                f"{root} has a folder {other[0]} but none named train; name the training {kind.word}s' folder train"
            )
        return root, None
    used = [*named["train"], *named["val"]]
    unused = [folder for folder in inner if folder not in used and search_folder(root / folder, kind).names]
    others = [folder for folder in unused if split_of(folder, kind) is None]
    if others and not any(os.sep in name for name in search_folder(root / used[0], kind).names):
        raise UserError(
            f"{root} has a folder {used[0]} without classes beside {_some(others)}: a split or a class? Rename it, or"
            " move the others out"
        )
    if unused:
        notice(f"{root}: {len(unused)} folder(s) with {kind.word}s beside {used[0]} are not read: {_some(unused)}")
    return root / used[0], root / used[1] if named["val"] else None


def find_classes(contents: FolderContents, names: Path | None, kind: Kind) -> tuple[list[str], list[str]]:
    """(folders, names) of the classes, in order of the labels; none where the files lie in no folders. Folders without
    such files are no classes, which is reported. `names` is a text file: a line is a folder's name, a space, a name.
    """
    root, counts = contents.root, contents.counts()
    keys = sorted(folder for folder in counts if folder)
    if not counts:
        where = f"put them into one folder a class, or all into {root} without classes"
        raise UserError(f"{root} holds no {kind.word}s: {where}")
    empty = [folder for folder in contents.folders if folder not in counts]
    if empty and keys:
        notice(f"{root}: {len(empty)} folder(s) without {kind.word}s are no class: {_some(empty)}")
    if len(keys) == 1:
        notice(f"{root}: {keys[0]} is the only class; to have none, set data.source.root to {root / keys[0]}")
    elif keys and not any(name.count(os.sep) == 1 for name in contents.names):
        notice(
            f"{root}: the classes are {_some(keys)}, and all their {kind.word}s lie in folders within them; where those"
            " are the classes, make them the folders of data.source.root"
        )
    if names is None:
        return keys, [readable_name(key) for key in keys]
    pairs = (line.split(maxsplit=1) for line in read_lines(names, "data.source.names: "))
    names_of = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
    if not names_of.keys() & set(keys):
        raise UserError(f"{names} names no class folder of {root}: a line is a folder's name, a space, a name")
    return keys, [names_of.get(key, readable_name(key)) for key in keys]


def readable_name(name: str) -> str:
    """The name of a file or folder as text that can be written: bytes that are no UTF-8, control characters and breaks
    of lines as escapes.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each
        for each in text
    )


def _some(names: list[str]) -> str:
    return ", ".join([*names[:_EXAMPLES], *["..."] * (len(names) > _EXAMPLES)])


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
