"""Clips of speech: of one length, silence after shorter sounds, stretches of longer ones."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.data.sources.base import Batch, require_argument, require_at_least
from mmgen.data.sources.listing import ListedSamples, Listing
from mmgen.data.sources.scan import SOUNDS
from mmgen.media.audio import read_audio, read_header

STRETCH = "sound crop"
"""Name of the draw by which a training stretch begins anywhere in its sound."""

_SHORTEST = 0.1  # seconds of a sound that something can be said in
_ROUNDING = 1e-4  # seconds


def padded(sounds: Sequence[Tensor], samples: int) -> Batch:
    """Sounds (1, n), n <= samples, as `x` (b, 1, samples) float32 with silence at the end, and `length` (b,) int64."""
    x = torch.stack([F.pad(sound, (0, samples - sound.shape[-1])) for sound in sounds])
    return {"x": x, "length": torch.tensor([sound.shape[-1] for sound in sounds])}


def clip_length(seconds: float, crop: float | None, sample_rate: int) -> int:
    """Samples of every clip: of `crop` seconds, or where there is none, of `seconds`.

    Raises:
        UserError: no rate, or a length that is no sample long.
    """
    require_at_least(1, sample_rate=sample_rate)
    for name, value in (("seconds", seconds), ("crop", crop)):
        fits = value is None or 1 <= value * sample_rate < 2**31
        require_argument(fits, name, f"at least one sample of 1 / {sample_rate} s", f"{value} s")
    return round((seconds if crop is None else crop) * sample_rate)


class SpeechClips(ListedSamples):
    """A clip (1, `samples`) of every sound file, from its beginning. Where clips are `cropped` they are stretches of
    longer sounds, and training begins anywhere; otherwise a longer sound is an error.
    """

    draws = STRETCH, 1

    def __init__(self, listing: Listing, samples: int, sample_rate: int, cropped: bool, text: Text | None) -> None:
        super().__init__(listing, SOUNDS.word, cropped, text)
        self.samples, self.sample_rate, self.cropped = samples, sample_rate, cropped

    def collate(self, samples: list[Tensor]) -> Batch:
        return padded(samples, self.samples)

    def read(self, place: int, draws: Sequence[float] | None) -> Tensor:
        path, seconds = self.listing.path(place), self.samples / self.sample_rate
        known = self.listing.more.get("seconds")
        whole = read_header(path).seconds if known is None else known[place].item()
        if not self.cropped:
            check_length(path, whole, seconds)
        start = 0.0 if draws is None else draws[0] * max(0.0, whole - seconds)
        return read_audio(path, self.sample_rate, start, seconds)[:, : self.samples]


def check_length(path: Path, seconds: float, longest: float) -> None:
    """Raises UserError for a sound that is longer than `longest`, or too short to be one."""
    if seconds < _SHORTEST:
        raise UserError(f"{path} has {seconds:.3g} s, too few for a sound")
    if seconds > longest + _ROUNDING:
        raise UserError(f"{path} has {seconds:.4g} s, more than the {longest:g} s of data.source.seconds")
