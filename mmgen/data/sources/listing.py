"""Files that are samples: which there are, in what order, and reading them when they are needed."""

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Batch, Samples
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.scan import Kind, notice, report_skipped
from mmgen.data.sources.search import LeftAside

T = TypeVar("T")
_CHUNK = 256  # files that a thread takes at once
_TRIES = 8  # unreadable files in a row that say the disk is at fault


@dataclass(frozen=True, eq=False)
class Listing:
    """Files of a folder, or parts of files.

    Args:
        root: the folder.
        names: (n,) bytes, paths relative to it. One array, because a list of a million strings would be copied into
            every loading process as soon as that counts its references.
        labels: (n,) int64.
        numbers: (n,) int64 numbers in the whole data set, unreadable files counted too.
        captions: of each; None where no file has any.
        more: further columns by name, (n, ...), such as the `seconds` that each file lasts.
    """

    root: Path
    names: np.ndarray
    labels: Tensor
    numbers: Tensor
    captions: Captions | None = None
    more: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, root: Path, names: Sequence[str], labels: Sequence[int] | None, first: int, **options: Any
    ) -> "Listing":
        """Files by their paths in `root`, numbered from `first`; without labels they have no class."""
        array = np.array([os.fsencode(name) for name in names], np.bytes_)
        label = torch.tensor([NO_CLASS] * len(names) if labels is None else labels, dtype=torch.int64)
        return cls(root, array, label, first + torch.arange(len(names)), **options)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, place: int) -> str:
        """The path of the file at a place, relative to the folder."""
        return os.fsdecode(self.names[place])

    def all_names(self) -> list[str]:
        """The paths of all files, relative to the folder."""
        return [os.fsdecode(name) for name in self.names]

    def path(self, place: int) -> Path:
        """Where the file at a place lies."""
        return self.root / self.name(place)

    def choose(self, rows: Tensor) -> "Listing":
        """Some of them; rows (n,) bool."""
        return replace(
            self,
            names=self.names[rows.numpy()],
            labels=self.labels[rows],
            numbers=self.numbers[rows],
            captions=None if self.captions is None else self.captions.choose(rows),
            more={name: column[rows] for name, column in self.more.items()},
        )

    def hold_out(self, every: int) -> tuple["Listing", "Listing"]:
        """(to train on, held out): number i is held out when i % every == 0; the first of several where none of these
        is among them, which is reported.
        """
        out = self.numbers % every == 0
        if len(self) > 1 and not out.any():
            notice(f"{self.root}: no file that would be held out can be used; {self.name(0)} is instead")
            out[0] = True
        return self.choose(~out), self.choose(out)


def usable(
    listing: Listing, kind: Kind, read: Callable[[Path], T], conversions: Callable[[T], Iterable[str]]
) -> tuple[Listing, list[T]]:
    """The files that can be used, and their headers. Reports which are skipped, and what reading the others converts.

    Args:
        listing: the files.
        kind: of files.
        read: reads one file's header, and raises UserError where the file is not to be used.
        conversions: what reading a file of this header changes.
    """

    def part(start: int) -> list[T | UserError]:
        headers: list[T | UserError] = []
        for place in range(start, min(start + _CHUNK, len(listing))):
            try:
                headers.append(read(listing.path(place)))
            except UserError as error:
                headers.append(error)
        return headers

    with ThreadPoolExecutor(8) as pool:  # opening waits for the disk more than for the processor
        headers = [header for chunk in pool.map(part, range(0, len(listing), _CHUNK)) for header in chunk]
    bad = {listing.name(place): each for place, each in enumerate(headers) if isinstance(each, UserError)}
    report_skipped(listing.root, bad)
    good = [header for header in headers if not isinstance(header, UserError)]
    changes = LeftAside()
    for place, header in enumerate(headers):
        for change in () if isinstance(header, UserError) else conversions(header):
            changes.add(change, listing.name(place))
    for change, count in sorted(changes.counts.items()):
        notice(f"{listing.root}: {change} in {count} {kind.word}(s) ({changes.examples[change]})")
    rows = torch.tensor([not isinstance(header, UserError) for header in headers], dtype=torch.bool)
    return listing.choose(rows), good


class ListedSamples(Samples):
    """Samples of which each is read from a file of its own when it is needed.

    A file that turns out to be damaged ends `take` in one line, so that no figure is measured on other samples than it
    says. Training goes on with the next readable sample, the same one on every machine, and reports it once.

    Args:
        listing: the files.
        word: what one of them is called.
        varied: training sees something else of a file in every epoch.
        text: by which captions are read as `text`; None where a batch holds them as `caption`.
    """

    draws: ClassVar[tuple[str, int]]
    """Name and count of the uniform draws by which training varies a sample."""

    def __init__(self, listing: Listing, word: str, varied: bool = True, text: Text | None = None) -> None:
        self.listing, self.word, self.varied, self.text = listing, word, varied, text
        self._reported: set[int] = set()

    def __len__(self) -> int:
        return len(self.listing)

    @property
    def captions(self) -> Captions | None:
        return self.listing.captions if self.text is None else None

    def texts(self, index: Tensor) -> list[str]:
        if self.text is None or self.listing.captions is None:
            return super().texts(index)
        return self.listing.captions.pick(index)

    @abstractmethod
    def read(self, place: int, draws: Sequence[float] | None) -> Tensor:
        """The sample of the file at a place, varied by as many draws in [0, 1) as `draws` says; None for as it is."""

    def collate(self, samples: list[Tensor]) -> Batch:
        """What a batch holds of the samples themselves."""
        return {"x": torch.stack(samples)}

    def caption_chance(self, draws: Draws) -> Tensor:
        """(b,) in [0, 1), by which a caption of each sample is drawn."""
        return draws.uniform("caption")

    def take(self, index: Tensor) -> Batch:
        return self._batch([self.read(place, None) for place in index.tolist()], index, None)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        def vary(place: int, when: int) -> Tensor:
            if not self.varied:
                return self.read(place, None)
            draws = Draws(seed, self.listing.numbers[place : place + 1], torch.tensor([when]))
            return self.read(place, draws.uniform(*self.draws)[0].tolist())

        slots = zip(index.tolist(), epoch.tolist())
        places, samples = zip(*(self._read_or_next(place, partial(vary, when=when)) for place, when in slots))
        index = torch.tensor(places)
        return self._batch(list(samples), index, Draws(seed, self.listing.numbers[index], epoch))

    def _batch(self, samples: list[Tensor], index: Tensor, draws: Draws | None) -> Batch:
        listing = self.listing
        batch = self.collate(samples) | {"label": listing.labels[index], "sample": listing.numbers[index]}
        if listing.captions is None:
            return batch
        captions = listing.captions.pick(index, None if draws is None else self.caption_chance(draws))
        return batch | ({"caption": captions} if self.text is None else {"text": self.text.encode_all(captions)})

    def _read_or_next(self, place: int, read: Callable[[int], Tensor]) -> tuple[int, Tensor]:
        """What `read` gives at a place, or at the next one where it raises no UserError.

        Raises:
            UserError: several in a row cannot be read.
        """
        for step in range(_TRIES):
            other = (place + step) % len(self)
            try:
                return other, read(other)
            except UserError as error:
                last = error
                if other not in self._reported:
                    self._reported.add(other)
                    notice(f"{error}; the next {self.word} takes its place", every_rank=True)
        raise UserError(f"{_TRIES} {self.word}s in a row cannot be read, the last because {last}")
