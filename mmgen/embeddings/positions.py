"""Absolute position tables, added to the embedded tokens."""

from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.layout import Layout, Role
from mmgen.tokens import Grid

PositionKind = Literal["learned", "sincos", "none"]


class AbsolutePositions(nn.Module):
    """A vector for every cell of a (T, H, W) grid; prefix positions get none.

    Args:
        grid: (T, H, W).
        dim: width of the backbone.
        kind: learned, or fixed sines and cosines of the three axes (Vaswani et al. 2017, axis by axis).
    """

    def __init__(self, grid: Grid, dim: int, kind: Literal["learned", "sincos"]) -> None:
        super().__init__()
        self.grid = grid
        table = _sincos(grid, dim)
        if kind == "learned":
            self.table = nn.Parameter(torch.randn_like(table) * 0.1)
        else:
            self.register_buffer("table", table, persistent=False)

    def forward(self, layout: Layout) -> Tensor:
        """(b, N, dim) for the layout's positions."""
        t, h, w = layout.position.unbind(-1)
        cell = (t * self.grid[1] + h) * self.grid[2] + w
        outside = (layout.role == Role.PREFIX)[..., None]
        return torch.where(outside, 0.0, self.table[cell])


def _sincos(grid: Grid, dim: int) -> Tensor:
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in grid), indexing="ij")
    frequencies = 10000.0 ** (-torch.arange(dim // 6) / max(dim // 6, 1))
    angles = torch.stack(axes, dim=-1).reshape(-1, 3, 1) * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return torch.nn.functional.pad(waves, (0, dim - waves.shape[1]))
