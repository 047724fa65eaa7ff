"""What all speech has in common: clips of one length, silence after shorter ones, and random stretches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.sources.base import Batch


def padded(sounds: Sequence[Tensor], samples: int) -> Batch:
    """Sounds (1, n), n <= samples, as `x` (b, 1, samples) float32 with silence at the end, and `length` (b,) int64."""
    x = torch.stack([F.pad(sound, (0, samples - sound.shape[-1])) for sound in sounds])
    return {"x": x, "length": torch.tensor([sound.shape[-1] for sound in sounds])}


def begins(numbers: Tensor, epoch: Tensor, seed: int) -> Tensor:
    """Where in its sound each training crop begins: (b,) float64 in [0, 1), 0 at the earliest place, 1 at the latest.

    Args:
        numbers: (b,) int64 numbers in the whole data set.
        epoch: (b,) int64.
        seed: of the run.
    """
    return Draws(seed, numbers, epoch).uniform("sound crop")


def clip_samples(seconds: float, crop: float | None, sample_rate: int) -> int:
    """Samples of every clip: of `crop` seconds, or where there is none, of `seconds`.

    Raises:
        UserError: no rate, or a length that is no sample long.
    """
    if sample_rate < 1:
        raise UserError(f"data.source.sample_rate must be at least 1 Hz, got {sample_rate}")
    for name, value in (("seconds", seconds), ("crop", crop)):
        if value is not None and not 1 <= value * sample_rate < 2**31:
            raise UserError(f"data.source.{name} must be at least one sample of 1 / {sample_rate} s, got {value:g} s")
    return round((seconds if crop is None else crop) * sample_rate)
