"""Which files a data set of folders has, in what order, and which of them are held out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.classes import Classes
from mmgen.data.sources.scan import files, notice


@dataclass(frozen=True)
class Listing:
    """The readable files of a folder.

    Args:
        root: the folder.
        names: (n,) bytes, paths relative to it. One array, because a list of a million strings would be copied into
            every loading process as soon as that counts its references.
        labels: (n,) int64.
        numbers: (n,) int64 numbers in the whole data set, unreadable files counted too.
        sizes: (n, 2) int64 heights and widths; None where no file was opened.
        seconds: (n,) float64 lengths of videos; None for images, and where no file was opened.
        captions: of each; None where no file has any.
    """

    root: Path
    names: np.ndarray
    labels: Tensor
    numbers: Tensor
    sizes: Tensor | None = None
    seconds: Tensor | None = None
    captions: Captions | None = None

    def __len__(self) -> int:
        return len(self.names)

    def path(self, place: int) -> Path:
        """Where the file at a place lies."""
        return self.root / os.fsdecode(self.names[place])

    def choose(self, rows: Tensor) -> Self:
        """Some of them; rows (n,) bool."""
        return replace(
            self,
            names=self.names[rows.numpy()],
            labels=self.labels[rows],
            numbers=self.numbers[rows],
            sizes=None if self.sizes is None else self.sizes[rows],
            seconds=None if self.seconds is None else self.seconds[rows],
            captions=None if self.captions is None else self.captions.choose(rows),
        )

    def hold_out(self, every: int) -> tuple["Listing", "Listing"]:
        """(to train on, held out): number i is held out when i % every == 0."""
        out = self.numbers % every == 0
        return self.choose(~out), self.choose(out)


def list_folder(root: Path, classes: Classes, first: int) -> Listing:
    """The files of one folder, unopened, by class and name, numbered from `first`.

    Raises:
        UserError: its folders are not those of the classes.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, folder in classes.folders(root):
        found = [os.path.join(folder, name) for name in files(root / folder, classes.kind)]
        names += found
        labels += [label] * len(found)
    return _listing(root, names, labels, first)


def list_lines(path: Path, root: Path, classes: Classes, first: int) -> Listing:
    """The files that a list names, unopened, in its order, numbered from `first`; missing ones are left out and told.

    Args:
        path: a text file as UCF-101's `trainlist01.txt`: a line is CLASS/NAME, and may go on with a space and a number,
            which is not read: labels are those of the folders.
        root: what its lines are relative to.
        classes: of that folder.
        first: number of the first file that is there.

    Raises:
        UserError: it cannot be read, or none of its files is there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"list {path} cannot be read ({' '.join(str(error).split())})") from None
    listed = list(dict.fromkeys(_without_number(line.strip()) for line in lines if line.strip()))
    names = [name for name in listed if (root / name).is_file()]
    if not names:
        raise UserError(f"{path} names no file that is in {root}: a line is CLASS/NAME, relative to data.source.root")
    if len(names) < len(listed):
        missing = next(name for name in listed if name not in set(names))
        notice(f"{path}: {len(listed) - len(names)} file(s) are not in {root}, the first is {missing}")
    numbers = {key: label for label, key in enumerate(classes.keys)}
    return _listing(root, names, [numbers.get(Path(name).parts[0], NO_CLASS) for name in names], first)


def _without_number(line: str) -> str:
    name, _, last = line.rpartition(" ")
    return name.rstrip() if name and last.isdigit() else line


def _listing(root: Path, names: Sequence[str], labels: Sequence[int], first: int) -> Listing:
    array = np.array([os.fsencode(name) for name in names], np.bytes_)
    return Listing(root, array, torch.tensor(labels, dtype=torch.int64), first + torch.arange(len(names)))
