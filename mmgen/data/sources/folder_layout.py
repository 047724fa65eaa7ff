"""How a folder of files is laid out: which of its folders are splits, which are classes, and what is neither."""

import os
import re
import unicodedata
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.core.text_file import read_lines
from mmgen.data.sources.scan import Kind, notice
from mmgen.data.sources.search import FolderContents, folders, search_folder

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


def search_splits(root: Path, kind: Kind, splits: bool = True) -> tuple[Path, FolderContents, FolderContents | None]:
    """The folder of the data set, what it holds to train on, and for validation if it has a folder for that.

    Where a folder holds nothing but another one, in which are the splits or the classes, that one is taken for it.
    What is left aside is reported.

    Raises:
        UserError: it is no folder, as `split_folders`, or a folder for training may be a class.
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
            report_wrapper(root, around)
            return search_splits(root / around, kind)
    contents.left_aside.report(train)
    if train != root and not any(os.sep in name for name in contents.names):
        others = [each for each in folders(root) if split_of(each, kind) is None]
        if others := [each for each in others if search_folder(root / each, kind).names]:
            raise UserError(
                f"{root} has a folder {train.name} without classes beside {_some(others)}: a split or a class? Rename"
                " it, or move the others out"
            )
    contents = _unwrap(contents) if splits else contents
    held_out = None
    if val is not None:
        held_out = search_folder(val, kind, companions=COMPANIONS)
        held_out.left_aside.report(val)
        if not {folder for folder in held_out.counts() if folder} & set(contents.counts()):
            held_out = _unwrap(held_out)
        if shared := contents.entered.keys() & held_out.entered.keys():
            first = min((contents.entered[each], held_out.entered[each]) for each in shared)
            notice(f"{first[0]} and {first[1]} are one folder: its {kind.word}s are both trained on and held out")
    return root, contents, held_out


def _unwrap(contents: FolderContents) -> FolderContents:
    """What the one folder that holds all the class folders has in it, if there is one."""
    wrapper = contents.wrapper()
    if not wrapper:
        return contents
    report_wrapper(contents.root, wrapper)
    return contents.within(wrapper)


def report_wrapper(root: Path, wrapper: str | Path) -> None:
    """Says that a folder is read in place of the one around it."""
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
        UserError: several folders for one split, or one for validation or tests but none for training.
    """
    inner = folders(root)
    named = {split: [folder for folder in inner if split_of(folder, kind) == split] for split in _SPLITS.values()}
    for split, several in named.items():
        if len(several) > 1:
            raise UserError(f"{root} has several folders for the split {split}: {', '.join(several)}; keep one of them")
    if not named["train"]:
        other = next((each for each in named["val"] + named["test"] if search_folder(root / each, kind).names), None)
        if other is not None:
            raise UserError(
                f"{root} has a folder {other} but none named train; name the training {kind.word}s' folder train"
            )
        return root, None
    used = [*named["train"], *named["val"]]
    unused = [folder for folder in inner if folder not in used and search_folder(root / folder, kind).names]
    if loose := search_folder(root, kind, deep=False).names:
        notice(f"{root}: {len(loose)} {kind.word}(s) beside the folder {used[0]} are not read ({loose[0]})")
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
