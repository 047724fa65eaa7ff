"""Finite scalar quantization: every number of a vector is rounded by itself. No codebook, no losses."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers.base import Quantized, Quantizer, straight_through

_MARGIN = 1e-3  # how far beyond its outermost values the tanh reaches, relatively
_MOST = 1000  # values a number may take before that margin would round to one more


class FSQ(Quantizer):
    """Finite scalar quantization (Mentzer et al. 2023, arXiv 2309.15505, appendix A.1).

    A number that may take L values is squashed by a shifted tanh to slightly more than L - 1 units, rounded, and
    divided by floor(L / 2): the codes are whole multiples of 1 / floor(L / 2), in [-1, 1]; where L is even, 1 itself is
    left out. z = 0 gives the code 0. The index counts in mixed radix, the first number being the least significant. The
    gradient is straight-through from the code to the squashed number.

    (The published listing has tan for atanh in the shift, which puts 0 a little off its code, and a reach slightly
    below L - 1.)

    Losses: none, and no code can die, though a number of z far from 0 stays at its outermost value for want of a
    gradient.

    Args:
        steps: how many values each number may take, 3 to 1000 (the paper's levels, which should be at least 5):
            (8, 6, 5) for about 2^8 codes, (8, 5, 5, 5) for 2^10, (7, 5, 5, 5, 5) for 2^12, (8, 8, 8, 6, 5) for 2^14.
    """

    kind = "categorical"

    def __init__(self, steps: Sequence[int]) -> None:
        super().__init__()
        if not steps or not all(3 <= count <= _MOST for count in steps):
            raise UserError(f"FSQ steps must be a list of numbers from 3 to {_MOST}, not {list(steps)}")
        if math.prod(steps) >= 2**62:
            raise UserError(f"FSQ packs its steps into an int64, and the product of {list(steps)} is beyond 2^62")
        self.dim, self.size = len(steps), math.prod(steps)
        strides = [math.prod(steps[:place]) for place in range(len(steps))]
        self.steps: Tensor
        self.strides: Tensor
        self.register_buffer("steps", torch.tensor(list(steps)), persistent=False)
        self.register_buffer("strides", torch.tensor(strides), persistent=False)  # what one step is worth in the index

    def quantize(self, z: Tensor) -> Quantized:
        bounded = self.bound(z)
        rounded = bounded.round()
        half = self.steps // 2
        return Quantized(straight_through(bounded / half, rounded / half), self._pack(rounded))

    def encode(self, z: Tensor) -> Tensor:
        return self._pack(self.bound(self.check_vectors(z)).round())

    def lookup(self, indices: Tensor) -> Tensor:
        self.check_indices(indices, self.size)
        half = self.steps // 2
        return (indices[..., None] // self.strides % self.steps - half).float() / half

    def bound(self, z: Tensor) -> Tensor:
        """z (..., dim) -> (..., dim) strictly increasing in each number, within half a unit of its `steps` integers."""
        half_range = (self.steps - 1).to(z.dtype) * (1 + _MARGIN) / 2
        offset = (1 - self.steps % 2).to(z.dtype) / 2  # an even number of integers has no middle: 0 is above it
        return (z + (offset / half_range).atanh()).tanh() * half_range - offset

    def _pack(self, rounded: Tensor) -> Tensor:
        return ((rounded.long() + self.steps // 2) * self.strides).sum(-1)
