"""Adaptive layer norm: shift, scale and gate from a condition, per position (DiT, Peebles & Xie 2023, section 3.2)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Modulation(NamedTuple):
    """Of one branch of a block: three tensors (B, 1 or N, dim)."""

    shift: Tensor
    scale: Tensor
    gate: Tensor


class AdaLN(nn.Module):
    """A block's own map from the condition to its modulation; zero at initialisation, so that every block starts as
    identity. With `shared`, the condition arrives already mapped to six chunks and the block adds an offset (PixArt's
    adaLN-single).
    """

    def __init__(self, dim: int, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        if shared:
            self.offset = nn.Parameter(torch.zeros(6 * dim))
        else:
            self.project = nn.Linear(dim, 6 * dim)
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    def forward(
        self, cond: Tensor, modulated: Tensor | None, row: Tensor | None = None
    ) -> tuple[Modulation, Modulation]:
        """Modulations of the mixer branch and of the MLP branch: cond (B, 1 or N, dim), or (B, 1 or N, 6 dim) when
        shared.

        Where modulated (b, N) bool is false, shift is 0, scale 0 and gate 1: a plain pre-norm residual (ACDiT's clean
        tokens). With row (R, N) int64, position n of row r is modulated by that condition.
        """
        six = cond + self.offset if self.shared else self.project(F.silu(cond))
        six = six if row is None else six[:, 0][row]
        mixer, mlp = (Modulation(*half.chunk(3, dim=-1)) for half in six.chunk(2, dim=-1))
        return _only(mixer, modulated), _only(mlp, modulated)


def _only(modulation: Modulation, modulated: Tensor | None) -> Modulation:
    if modulated is None:
        return modulation
    here = modulated[..., None]
    shift, scale, gate = modulation
    return Modulation(torch.where(here, shift, 0.0), torch.where(here, scale, 0.0), torch.where(here, gate, 1.0))


def modulate(x: Tensor, modulation: Modulation) -> Tensor:
    """x (B, N, dim) already normalised."""
    return torch.addcmul(modulation.shift, x, 1 + modulation.scale)
