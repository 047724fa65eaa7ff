"""A transformer over the frames of a clip, causal in time: all at once, or as they arrive."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mmgen.core.layout import Layout, grid_layout
from mmgen.core.masks import block_causal
from mmgen.core.shape_cache import passing
from mmgen.core.tokens import Grid
from mmgen.core.window import Window
from mmgen.model.backbone import Cache, Transformer

Run = Callable[[Tensor, Grid], Tensor]  # (B, T h w, dim) and (T, h, w) -> (B, T h w, dim)


def at_once(transformer: Transformer, window: Window) -> Run:
    """All frames in one pass: each sees itself and earlier ones, as far as the window goes."""

    def run(x: Tensor, grid: Grid) -> Tensor:
        return transformer(x, _frames(grid, 0, x.device), window.restrict(block_causal))

    return run


class Arriving:
    """The same, for consecutive chunks of frames: keys and values of the frames before are cached.

    With a window the cache has one size, whatever the length of the clip and of its chunks; without one it grows.
    """

    def __init__(self, transformer: Transformer, window: Window) -> None:
        self._transformer, self._window = transformer, window
        self._cache: Cache | None = None
        self._start = 0

    @property
    def capacity(self) -> int:
        """Positions that the cache has room for."""
        return 0 if self._cache is None else self._cache.capacity

    def __call__(self, x: Tensor, grid: Grid) -> Tensor:
        """The next frames, x (B, T h w, dim) of grid (T, h, w) -> (B, T h w, dim)."""
        frame, width = math.prod(grid[1:]), self._window.width
        if self._cache is None:
            capacity = x.shape[1] if width is None else (2 * width - 1) * frame  # those kept, and as many as one sees
            self._cache = self._transformer.new_cache(len(x), capacity)
        pieces = (x,) if width is None else x.split(width * frame, dim=1)
        return torch.cat([self._piece(piece, (piece.shape[1] // frame, *grid[1:]), self._cache) for piece in pieces], 1)

    def _piece(self, x: Tensor, grid: Grid, cache: Cache) -> Tensor:
        cache.reserve(x.shape[1])
        layout, mask = _frames(grid, self._start, x.device), self._window.restrict(block_causal)
        with passing():  # frames move on, so no mask and no table is ever the same again
            x = self._transformer(x, layout, mask, cache=cache)
        self._start += grid[0]
        if self._window.width is not None and cache.layout is not None:
            cache.keep(self._window.kept(cache.layout, self._start))
        return x


def _frames(grid: Grid, start: int, device: torch.device) -> Layout:
    """Raster order with a frame as block, from frame `start` on. From 0 on it is the same object every time, so that
    masks and tables are found again.
    """
    frame = math.prod(grid[1:])
    layout = grid_layout(grid, block_size=frame).to(device)
    if not start:
        return layout
    return layout.but(
        position=layout.position + torch.tensor([start, 0, 0], device=device),
        rank=layout.rank + start * frame,
        block=layout.block + start,
        frame=layout.frame + start,
    )
