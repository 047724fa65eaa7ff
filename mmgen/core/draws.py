"""Randomness keyed by (seed, epoch, global sample number, name of the draw), so that it differs by sample and by
nothing else.

A sample meets the same corruption at any batch size, accumulation or number of processes, and a sampled row does not
depend on its neighbours. Every number is a hash of its key and its place in the row: a counter-based generator
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with the finaliser of SplitMix64
(Steele et al. 2014), written in int64 tensor operations, which wrap around on every device.
"""

import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer
_MIX_A = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_B = -7723592293110705685  # 0x94D049BB133111EB


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift of a signed integer."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift_right(x, 30)) * _MIX_A
    x = (x ^ _shift_right(x, 27)) * _MIX_B
    return x ^ _shift_right(x, 31)


@dataclass(frozen=True, eq=False)
class Draws:
    """Named streams of random numbers, one stream for every sample.

    Args:
        seed: the run's seed.
        samples: (B,) int64 global sample numbers.
        epoch: the pass over the data, one for all samples or (B,) int64.
    """

    seed: int
    samples: Tensor
    epoch: int | Tensor = 0

    def uniform(self, name: str, *shape: int) -> Tensor:
        """(B, *shape) float64 in [0, 1). A longer leading axis extends the stream: its first entries stay the same."""
        seed = torch.as_tensor(self.seed, device=self.samples.device, dtype=torch.int64)
        key = _mix(seed + _GOLDEN).expand_as(self.samples)
        for part in (self.epoch, self.samples, zlib.crc32(name.encode())):
            key = _mix((key + _GOLDEN) ^ torch.as_tensor(part, device=key.device, dtype=torch.int64))
        counter = torch.arange(1, math.prod(shape) + 1, device=key.device) * _GOLDEN
        bits = _mix(key[:, None] + counter)
        return (_shift_right(bits, 11).double() * 2.0**-53).view(len(self.samples), *shape)

    def normal(self, name: str, *shape: int) -> Tensor:
        """(B, *shape) float64 standard normal, by the inverse distribution function."""
        u = self.uniform(name, *shape).clamp_min(2.0**-54)
        return math.sqrt(2) * torch.erfinv(2 * u - 1)

    def gumbel(self, name: str, *shape: int) -> Tensor:
        """(B, *shape) float64 standard Gumbel."""
        u = self.uniform(name, *shape).clamp(2.0**-54, 1 - 2.0**-53)
        return -torch.log(-torch.log(u))

    def rows(self, index: Tensor) -> "Draws":
        """The streams of some samples; index (b,) int64 or (B,) bool."""
        epoch = self.epoch[index] if isinstance(self.epoch, Tensor) else self.epoch
        return Draws(self.seed, self.samples[index], epoch)
