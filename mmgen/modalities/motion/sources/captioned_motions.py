"""Motions with captions that are read from files when they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Batch
from mmgen.data.sources.folder_samples import ListedSamples
from mmgen.data.sources.listing import Listing
from mmgen.modalities.motion.skeleton import Skeleton
from mmgen.modalities.motion.sources.motion_folder import read_features
from mmgen.modalities.motion.sources.motion_samples import padded, whole


class Part(NamedTuple):
    """A motion, or a part of one.

    Attributes:
        file: its name, relative to the folder.
        start: its first frame.
        end: the frame after its last.
        captions: of it; none where they are not read.
    """

    file: str
    start: int
    end: int
    captions: tuple[str, ...]


@dataclass(frozen=True)
class MotionListing(Listing):
    """Parts of motions, with their captions.

    Args:
        starts: (n,) int64, the first frame of each.
        ends: (n,) int64, the frame after its last.
        firsts: (n + 1,) int64, where its captions begin among those of all.
        said: (captions,) bytes, UTF-8. One array, as `names` is.
    """

    starts: Tensor = None  # type: ignore[assignment]  # its base has fields with defaults before it
    ends: Tensor = None  # type: ignore[assignment]
    firsts: Tensor = None  # type: ignore[assignment]
    said: np.ndarray = None  # type: ignore[assignment]

    @classmethod
    def of(cls, root: Path, parts: Sequence[Part], first: int) -> "MotionListing":
        """Parts in order, numbered from `first`."""
        starts, ends, counts = (
            torch.tensor(column, dtype=torch.int64)
            for column in zip(*((part.start, part.end, len(part.captions)) for part in parts))
        )
        return cls(
            root,
            np.array([part.file.encode() for part in parts], np.bytes_),
            torch.full_like(starts, NO_CLASS),
            first + torch.arange(len(parts)),
            starts=starts,
            ends=ends,
            firsts=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            said=np.array([said.encode() for part in parts for said in part.captions], np.bytes_),
        )

    def caption(self, place: int, draw: float) -> str:
        """One of the captions of the part at a place; a draw of 0 is its first, one below 1 its last."""
        first, end = self.firsts[place : place + 2].tolist()
        return self.said[first + int(draw * (end - first))].decode()


class CaptionedMotions(ListedSamples):
    """A window of every part of a motion.

    `take` begins at the part's beginning and has its first caption; training begins anywhere, if the part is longer
    than the window, and has any of them. A file that turns out to be damaged when it is read is treated as
    `mmgen.data.sources.folder_samples.FolderSamples` treats it.

    Args:
        listing: the parts.
        skeleton: of the people.
        frames: of the longest window.
        text: how captions are read; None for motions alone.
    """

    listing: MotionListing

    def __init__(self, listing: MotionListing, skeleton: Skeleton, frames: int, text: Text | None) -> None:
        super().__init__(listing, "motion")
        self.skeleton, self.frames, self.text = skeleton, frames, text

    def texts(self, index: Tensor) -> list[str]:
        if self.text is None:
            return super().texts(index)
        return [self.listing.caption(place, 0.0) for place in index.tolist()]

    def take(self, index: Tensor) -> Batch:
        windows = [self._window(place) for place in index.tolist()]
        return self._batch(windows, index, torch.zeros(len(index)))

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        start, caption = Draws(seed, self.listing.numbers[index], epoch).uniform("window", 2).unbind(1)
        read = [
            self.read_or_next(place, partial(self._window, begin=begin))
            for place, begin in zip(index.tolist(), start.tolist())
        ]
        return self._batch([window for _, window in read], torch.tensor([place for place, _ in read]), caption)

    def _batch(self, windows: Sequence[Tensor], index: Tensor, caption: Tensor) -> Batch:
        batch = padded(windows, self.frames)
        batch |= {"label": self.listing.labels[index], "sample": self.listing.numbers[index]}
        if self.text is None:
            return batch
        said = [self.listing.caption(place, draw) for place, draw in zip(index.tolist(), caption.tolist())]
        return batch | {"text": self.text.encode_all(said)}

    def _window(self, place: int, begin: float = 0.0) -> Tensor:
        """Features (n, D); `begin` is 0 for the part's first frames, and below 1 for its last."""
        path, start, end = self.listing.path(place), int(self.listing.starts[place]), int(self.listing.ends[place])
        features = read_features(path, self.skeleton)
        if len(features) < end:
            raise UserError(f"{path} has {len(features)} frames, and had {end} before training")
        frames = whole(end - start, self.frames)
        start += int(begin * (end - start - frames + 1))
        return features[start : start + frames]
