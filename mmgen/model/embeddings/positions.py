"""Absolute positions, added to the embedded tokens."""

from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.core.layout import Layout, Role
from mmgen.core.tokens import Grid

PositionKind = Literal["learned", "spatial", "sincos", "none"]


class AbsolutePositions(nn.Module):
    """A vector for every place of a (T, H, W) grid; prefix positions get none.

    Args:
        grid: (T, H, W).
        dim: width of the backbone.
        kind: `learned`: a table of all places; `spatial`: a learned table of (H, W), the same in every frame, so that
            clips may become longer than those trained on; `sincos`: computed sines and cosines of the three axes
            (Vaswani et al. 2017, axis by axis), for any place.
    """

    def __init__(self, grid: Grid, dim: int, kind: Literal["learned", "spatial", "sincos"]) -> None:
        super().__init__()
        self.grid, self.dim, self.kind = grid, dim, kind
        if kind != "sincos":
            places = grid[1] * grid[2] * (grid[0] if kind == "learned" else 1)
            self.table = nn.Parameter(torch.randn(places, dim) * 0.1)

    def forward(self, layout: Layout) -> Tensor:
        """(b, N, dim) for the layout's positions."""
        outside = layout.role == Role.PREFIX
        t, h, w = layout.position.masked_fill(outside[..., None], 0).unbind(-1)
        if self.kind == "sincos":
            vectors = _sincos(layout.position, self.dim)
        else:
            cell = h * self.grid[2] + w
            vectors = self.table[cell + t * self.grid[1] * self.grid[2] if self.kind == "learned" else cell]
        return torch.where(outside[..., None], 0.0, vectors)


def _sincos(position: Tensor, dim: int) -> Tensor:
    """(b, N, 3) -> (b, N, dim)."""
    frequencies = 10000.0 ** (-torch.arange(dim // 6, device=position.device) / max(dim // 6, 1))
    angles = position[..., None].float() * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    return torch.nn.functional.pad(waves, (0, dim - waves.shape[-1]))
