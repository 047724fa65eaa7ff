"""Speech that is read from sound files when it is needed: whole clips with their texts, or stretches without."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.base import Batch
from mmgen.data.sources.folder_samples import ListedSamples
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import SOUNDS
from mmgen.media.audio import read_audio, read_header
from mmgen.modalities.speech.sources.clips import begins, padded

SHORTEST = 0.1  # seconds of a sound that something can be said in
_ROUNDING = 1e-4  # seconds


@dataclass(frozen=True)
class SpeechListing(Listing):
    """Sound files with what is said in them.

    Args:
        said: (n,) bytes, UTF-8; empty where no transcripts are read. One array, as `names` is.
        symbols: (n, L) int16, `said` as `mmgen.core.characters.Text` encodes it; None where no transcripts are read.
    """

    said: np.ndarray = None  # type: ignore[assignment]  # its base has fields with defaults before it
    symbols: Tensor | None = None

    def choose(self, rows: Tensor) -> Self:
        symbols = None if self.symbols is None else self.symbols[rows]
        return replace(super().choose(rows), said=self.said[rows.numpy()], symbols=symbols)


class SpeechClips(ListedSamples):
    """A clip of every sound file.

    `take` begins at the file's beginning, and so does training on whole clips; training on stretches begins anywhere. A
    file that turns out to be damaged, or too long, when it is read is treated as
    `mmgen.data.sources.folder_samples.FolderSamples` treats it.

    Args:
        listing: the files.
        samples: of a clip.
        sample_rate: in Hz.
        cropped: clips are stretches of longer sounds; otherwise a longer one is an error.
    """

    listing: SpeechListing

    def __init__(self, listing: SpeechListing, samples: int, sample_rate: int, cropped: bool) -> None:
        super().__init__(listing, SOUNDS.word)
        self.samples, self.sample_rate, self.cropped = samples, sample_rate, cropped

    def texts(self, index: Tensor) -> list[str]:
        if self.listing.symbols is None:
            return super().texts(index)
        return [text.decode() for text in self.listing.said[index.numpy()]]

    def take(self, index: Tensor) -> Batch:
        return self._batch([self._sound(place) for place in index.tolist()], index)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        if self.cropped:
            slots = zip(index.tolist(), epoch.tolist())
            cuts = ((place, partial(self._random_stretch, epoch=when, seed=seed)) for place, when in slots)
            read = [self.read_or_next(place, cut) for place, cut in cuts]
        else:
            read = [self.read_or_next(place, self._sound) for place in index.tolist()]
        return self._batch([sound for _, sound in read], torch.tensor([place for place, _ in read]))

    def _batch(self, sounds: list[Tensor], index: Tensor) -> Batch:
        batch = padded(sounds, self.samples)
        batch |= {"label": self.listing.labels[index], "sample": self.listing.numbers[index]}
        symbols = self.listing.symbols
        return batch if symbols is None else batch | {"text": symbols[index].long()}

    def _random_stretch(self, place: int, epoch: int, seed: int) -> Tensor:
        return self._sound(place, begins(self.listing.numbers[place : place + 1], torch.tensor([epoch]), seed).item())

    def _sound(self, place: int, begin: float = 0.0) -> Tensor:
        """(1, up to `samples`); `begin` is 0 for the file's first samples and 1 for its last."""
        path, seconds = self.listing.path(place), self.samples / self.sample_rate
        known = self.listing.seconds
        whole = read_header(path).seconds if known is None else known[place].item()
        if not self.cropped:
            check_length(path, whole, seconds)
        start = begin * max(0.0, whole - seconds)
        return read_audio(path, self.sample_rate, start, seconds)[:, : self.samples]


def check_length(path: Path, found: float, most: float) -> None:
    """Raises UserError for a sound of `found` seconds that is longer than `most`, or too short to be one."""
    if found < SHORTEST:
        raise UserError(f"{path} has {found:.3g} s, too few for a sound")
    if found > most + _ROUNDING:
        raise UserError(f"{path} has {found:.4g} s, more than the {most:g} s of data.source.seconds")
