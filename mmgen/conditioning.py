"""Conditions of a generator, and the one place of condition dropout."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.draws import Draws

NO_CLASS = -1  # the label of an unconditional row


class Condition(NamedTuple):
    """What a condition contributes: prefix (B, P, dim) positions of the row, and vector (B, dim) for the modulation."""

    prefix: Tensor
    vector: Tensor


class ClassConditioning(nn.Module):
    """Class labels as one prefix position and as a modulation vector. The last row of each table stands for `no class`.

    Args:
        classes: number of classes; 0 for an unconditional model, whose prefix is a start token.
        dim: width of the backbone.
        dropout: share of training rows that lose their label, for guidance.
    """

    prefix_length = 1

    def __init__(self, classes: int, dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.classes, self.dropout = classes, dropout
        self.prefix = nn.Embedding(classes + 1, dim)
        self.vector = nn.Embedding(classes + 1, dim)
        nn.init.normal_(self.prefix.weight, std=0.5)
        nn.init.normal_(self.vector.weight, std=0.5)

    def drop(self, labels: Tensor, draws: Draws) -> Tensor:
        """labels (B,) with a share replaced by NO_CLASS, drawn per sample."""
        return torch.where(draws.uniform("condition_dropout") < self.dropout, NO_CLASS, labels)

    def forward(self, labels: Tensor) -> Condition:
        """labels (B,) int64 in [-1, classes); -1 is no class."""
        index = torch.where(labels < 0, self.classes, labels) if self.classes else torch.zeros_like(labels)
        return Condition(self.prefix(index)[:, None], self.vector(index))


class NoiseLevel(nn.Module):
    """A noise level as a modulation vector: sines and cosines of it, then two linear maps (DiT, Peebles & Xie 2023).

    Args:
        dim: width of the backbone.
        frequencies: as many sines and as many cosines, of wavelengths from 2 pi / 1000 to 20 pi.
    """

    def __init__(self, dim: int, frequencies: int = 64) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.rise, self.out = nn.Linear(2 * frequencies, dim), nn.Linear(dim, dim)
        for linear in (self.rise, self.out):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, levels: Tensor) -> Tensor:
        """levels (B, N) in [0, 1], 0 without noise -> (B, N, dim)."""
        dtype = self.rise.weight.dtype
        step = torch.arange(self.frequencies, device=levels.device) / self.frequencies
        angles = levels[..., None].to(torch.promote_types(dtype, torch.float32)) * 1e3 * 1e-4**step
        return self.out(F.silu(self.rise(torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype))))
