"""Searching a folder for files of one kind: every file once, and a count of all that is left aside."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import Kind, notice

_SYSTEM_FOLDERS = {  # thumbnails, waste and copies that a system makes among the files of its users
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "__macosx",
    "lost+found", "system volume information",
}  # fmt: skip
_SYSTEM_FILES = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}  # never samples, so not worth a line
_REASONS = 6  # that a line names

Identity = tuple[int, int]
"""Device and inode: two paths of one folder have the same."""


@dataclass
class LeftAside:
    """What is left aside, or read otherwise than it stands, by the reason: how often, and the first example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Counts a file or folder by its path."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, name)

    def report(self, root: Path) -> None:
        """Logs it in one line, if there is anything."""
        if self.counts:
            reasons = self.counts.most_common()
            parts = [f"{count} {reason} ({self.examples[reason]})" for reason, count in reasons[:_REASONS]]
            more = ["..."] * (len(reasons) > _REASONS)
            notice(f"{root}: {self.counts.total()} left aside: {', '.join(parts + more)}")


@dataclass(frozen=True)
class FolderContents:
    """The files of one kind in a folder.

    Args:
        root: the folder.
        names: their paths relative to it; in each folder its files come first, then its folders, both sorted.
        folders: the folders in it, with such files or without, sorted.
        left_aside: what else there is.
        entered: where each folder was read, the root included.
    """

    root: Path
    names: list[str]
    folders: list[str]
    left_aside: LeftAside
    entered: Mapping[Identity, Path]

    def counts(self) -> Counter[str]:
        """Folder in the root -> files within it; the empty name stands for files in the root itself."""
        return Counter(_first(name) for name in self.names)

    def wrapper(self) -> str:
        """The path of the folder that holds all the folders with files, where the root holds nothing else; empty where
        it is the root itself.
        """
        parents = {os.path.dirname(name) for name in self.names}
        common = os.path.commonpath(parents) if parents else ""
        return os.path.dirname(common) if common in parents else common

    def within(self, folder: str) -> "FolderContents":
        """What a folder of it holds, as if that had been searched."""
        prefix = folder + os.sep
        names = [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]
        return replace(self, root=self.root / folder, names=names, folders=sorted({_first(name) for name in names}))


def _first(name: str) -> str:
    """The outermost folder of a path, or the empty name."""
    folder, separator, _ = name.partition(os.sep)
    return folder if separator else ""


def folders(root: Path) -> list[str]:
    """The names of the folders in `root` that are searched, sorted. Raises UserError where it cannot be read."""
    try:
        inner = [entry.name for entry in os.scandir(root) if os.path.isdir(entry)]
    except OSError as error:
        raise UserError(f"folder {root} cannot be read: {error.strerror}") from None
    return sorted(name for name in inner if not name.startswith(".") and name.lower() not in _SYSTEM_FOLDERS)


def find_files(root: Path, kind: Kind, deep: bool = True, companions: Collection[str] = ()) -> list[str]:
    """The names of `search_folder`; what is left aside is reported in one line."""
    contents = search_folder(root, kind, deep, companions)
    contents.left_aside.report(root)
    return contents.names


def search_folder(root: Path, kind: Kind, deep: bool = True, companions: Collection[str] = ()) -> FolderContents:
    """The files of one kind in `root`, and where `deep` in folders within it.

    Links are followed, but no folder is entered twice: one that is in the folder by itself keeps its own path, and a
    link to it, to the root or to a folder around the root is left aside. So are hidden files of this kind, hidden
    folders and those of a system (`@eaDir`, `__MACOSX`), pipes, sockets and devices, links to nothing, folders that may
    not be read, and files with another suffix.

    Args:
        root: the folder.
        kind: of files.
        deep: search folders within it too.
        companions: endings of files that belong to these files, in lower case: they are not counted.
    """
    return _Search(root, kind, deep, tuple(companions)).contents()


class _Search:
    """One search: folders that are really there come first, and what links lead to afterwards."""

    def __init__(self, root: Path, kind: Kind, deep: bool, companions: tuple[str, ...]) -> None:
        self.root, self.kind, self.deep, self.companions = root, kind, deep, companions
        self.left_aside = LeftAside()
        self.names: list[str] = []
        self.folders: list[str] = []
        self.links: list[str] = []
        real = root.resolve()
        self.around = {_identity(os.stat(each)) for each in real.parents}
        self.entered = {_identity(os.stat(real)): root}

    def contents(self) -> FolderContents:
        self._walk("")
        while self.links:
            link = self.links.pop(0)
            if self._enter(link, "link(s) to a folder read already"):
                self._walk(link)
        return FolderContents(
            self.root, sorted(self.names, key=_order), sorted(self.folders), self.left_aside, self.entered
        )

    def _enter(self, folder: str, again: str) -> bool:
        """Whether a folder was not entered before."""
        try:
            identity = _identity(os.stat(self.root / folder))
        except OSError as error:
            self.left_aside.add(f"folder(s) that cannot be read: {error.strerror}", folder)
            return False
        if identity in self.entered or identity in self.around:
            self.left_aside.add(again, folder)
            return False
        self.entered[identity] = self.root / folder
        if os.sep not in folder:
            self.folders.append(folder)
        return True

    def _walk(self, start: str) -> None:
        pending = [start]
        while pending:
            here = pending.pop()
            for entry in self._entries(here):
                name = os.path.join(here, entry.name)
                if not os.path.isdir(entry):
                    self._file(entry, name)
                elif self._is_open(entry, name):
                    if entry.is_symlink():
                        self.links.append(name)
                    elif self._enter(name, "folder(s) read already"):
                        pending.append(name)

    def _entries(self, here: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / here) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.left_aside.add(f"folder(s) that cannot be read: {error.strerror}", here or ".")

    def _is_open(self, entry: os.DirEntry[str], name: str) -> bool:
        """Whether folders of this name are searched."""
        if entry.name.lower() in _SYSTEM_FOLDERS:
            self.left_aside.add("folder(s) of a system", name)
        elif entry.name.startswith("."):
            self.left_aside.add("hidden folder(s)", name)
        elif not self.deep:
            self.left_aside.add("folder(s)", name)
        else:
            return True
        return False

    def _file(self, entry: os.DirEntry[str], name: str) -> None:
        small = entry.name.lower()
        suffix = os.path.splitext(small)[1]
        hidden = entry.name.startswith(".")
        if small in _SYSTEM_FILES or small.endswith(self.companions) or (hidden and suffix not in self.kind.suffixes):
            return
        if hidden:
            self.left_aside.add("hidden file(s)", name)
        elif not os.path.isfile(entry):
            broken = entry.is_symlink() and not os.path.exists(entry)
            self.left_aside.add("link(s) to nothing" if broken else "pipe(s), socket(s) or device(s)", name)
        elif suffix in self.kind.suffixes:
            self.names.append(name)
        else:
            self.left_aside.add(f"file(s) with the suffix {suffix}" if suffix else "file(s) without a suffix", name)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _order(name: str) -> tuple[tuple[bool, str], ...]:
    *folders, file = name.split(os.sep)
    return *((True, folder) for folder in folders), (False, file)
