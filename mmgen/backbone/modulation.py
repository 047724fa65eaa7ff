"""Adaptive layer norm: shift, scale and gate from a condition, per position (DiT, Peebles & Xie 2023, section 3.2)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Modulation(NamedTuple):
    """Six tensors (B, 1 or N, dim): of the attention branch, then of the MLP branch."""

    shift_mixer: Tensor
    scale_mixer: Tensor
    gate_mixer: Tensor
    shift_mlp: Tensor
    scale_mlp: Tensor
    gate_mlp: Tensor


class AdaLN(nn.Module):
    """A block's own map from the condition to its modulation; zero at initialisation, so that every block starts as identity.

    With `shared`, the condition arrives already mapped to six chunks and the block adds a learned offset (PixArt's adaLN-single).
    """

    def __init__(self, dim: int, shared: bool) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(6 * dim)) if shared else None
        self.project = None if shared else nn.Linear(dim, 6 * dim)
        if self.project is not None:
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    def forward(self, cond: Tensor, modulated: Tensor | None) -> Modulation:
        """cond (B, 1 or N, dim), or (B, 1 or N, 6 dim) when shared; modulated (b, N) bool or None for all.

        Positions that are not modulated get shift 0, scale 0 and gate 1: a plain pre-norm residual (ACDiT's clean tokens).
        """
        six = cond + self.offset if self.project is None else self.project(F.silu(cond))
        parts = six.chunk(6, dim=-1)
        if modulated is not None:
            here = modulated[..., None]
            parts = tuple(torch.where(here, part, float(index in (2, 5))) for index, part in enumerate(parts))
        return Modulation(*parts)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (B, N, dim) already normalised."""
    return torch.addcmul(shift, x, 1 + scale)
