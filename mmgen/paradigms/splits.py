"""Splits: partitions of a grid into autoregressive units, which blockwise paradigms generate one after the other. One
unit is diffusion of the whole grid, units of one position are token-wise autoregression.
"""

import math
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, blocks, grid_layout, tile_layout
from mmgen.core.tokens import Grid


class Split(ABC):
    """How a grid falls into units. The same object gives the same units of a grid, but for what it draws.

    Attributes:
        is_raster: units are runs in raster order, so that a row may end early.
        is_drawn: each sample draws an order of its own.
        draws_sizes: each sample draws the sizes of its units, so that they do not come at the same time in a batch.
    """

    is_raster = False
    is_drawn = False
    draws_sizes = False

    @abstractmethod
    def layout(self, grid: Grid, draws: Draws, first: Tensor | None = None) -> Layout:
        """The grid's positions, unit after unit: `rank` is the place in this order, `block` the unit. Positions that
        are known, `first` (B, N) bool in raster order, come first where the order is drawn. Raises UserError where the
        split does not fit.

        Returns:
            N positions, shared by all samples or, where the split draws, (B, N).
        """

    def for_sampling(self) -> "Split":
        """The split that samples are generated in, and of which a bound is one: its sizes are no draw."""
        return self


class Runs(Split):
    """Runs of positions in raster order, a smaller remainder first (BD3-LM, Arriola et al. 2025).

    Args:
        size: positions a unit, from 1 to the whole grid.
    """

    is_raster = True

    def __init__(self, size: int) -> None:
        self.size = _at_least_one("split", size)

    def layout(self, grid: Grid, draws: Draws, first: Tensor | None = None) -> Layout:
        return grid_layout(grid, _fitting("split", self.size, grid))


class Frames(Split):
    """The frames of a clip (MAGI, Zhou et al. 2025)."""

    is_raster = True

    def layout(self, grid: Grid, draws: Draws, first: Tensor | None = None) -> Layout:
        return grid_layout(grid, math.prod(grid[1:]))


class Tiles(Split):
    """Square tiles of each frame, tile after tile in raster order (ACDiT, Hu et al. 2024). Tiles that do not fit come
    first: 7 rows in tiles of 4 are 3 + 4.

    Args:
        side: rows and columns a tile.
    """

    def __init__(self, side: int) -> None:
        self.side = _at_least_one("Tiles: side", side)

    def layout(self, grid: Grid, draws: Draws, first: Tensor | None = None) -> Layout:
        return tile_layout(grid, self.side)


class Subgrids(Split):
    """Each frame from coarse to fine over scales of its own grid: every 2^(scales - 1)-th row and column, then with
    each unit what halves that distance.

    Args:
        scales: units a frame; 1 takes a frame at once.
    """

    def __init__(self, scales: int) -> None:
        self.scales = _at_least_one("Subgrids: scales", scales)

    def layout(self, grid: Grid, draws: Draws, first: Tensor | None = None) -> Layout:
        if 2 ** (self.scales - 1) >= 2 * max(grid[1:]):
            raise UserError(f"Subgrids: scales {self.scales} are too many for a grid of {grid[1]} x {grid[2]}")
        return _subgrids(grid, self.scales)


class RandomOrder(Split):
    """Runs of a random order of all positions, which each sample draws for itself, a smaller remainder first (the order
    of MAR, Li et al. 2024, and ARPG, Li et al. 2025). Known positions come first, so that any may be given.

    Args:
        size: positions a unit; all of them, in one unit, where None.
    """

    is_drawn = True

    def __init__(self, size: int | None = 1) -> None:
        self.size = None if size is None else _at_least_one("RandomOrder: size", size)

    def layout(self, grid: Grid, draws: Draws, first: Tensor | None = None) -> Layout:
        length = math.prod(grid)
        size = length if self.size is None else _fitting("RandomOrder: size", self.size, grid)
        order = _random_order(length, draws, first)
        return _ordered(grid, order, blocks(length, size).to(order.device).expand_as(order))


class RandomUnits(Split):
    """Units of random sizes in a random order, both drawn for each sample (CausalFusion, Deng et al. 2024, which draws
    the sizes once a batch): S units with a probability in proportion to decay^(S - 1), cut at S - 1 random places.

    Rows that are generated together have units of one size, which says `sampling_size`. A bound is that of these units.

    Args:
        decay: above 0, at most 1; small numbers train few large units most.
        sampling_size: positions a unit in sampling; the whole grid in one unit, as in CausalFusion's released sampler,
            where None.
    """

    is_drawn = True
    draws_sizes = True

    def __init__(self, decay: float = 0.9, sampling_size: int | None = None) -> None:
        if not 0 < decay <= 1:
            raise UserError(f"RandomUnits: decay {decay} must lie in (0, 1]")
        self.decay, self._sampling = decay, RandomOrder(sampling_size)

    def layout(self, grid: Grid, draws: Draws, first: Tensor | None = None) -> Layout:
        length = math.prod(grid)
        order = _random_order(length, draws, first)
        chance = self.decay ** torch.arange(length, dtype=torch.float64, device=order.device)
        cuts = torch.bucketize(draws.uniform("split/count"), (chance / chance.sum()).cumsum(0)[:-1], right=True)
        place = draws.uniform("split/cuts", length - 1).argsort(1).argsort(1)
        unit = torch.nn.functional.pad((place < cuts[:, None]).long().cumsum(1), (1, 0))
        return _ordered(grid, order, unit)

    def for_sampling(self) -> Split:
        """Units of one size in a random order."""
        return self._sampling


SplitChoice = int | Literal["frame"] | Split
"""What a recipe may write: a number of positions for `Runs`, `frame` for `Frames`, or any split."""


def get_split(choice: SplitChoice) -> Split:
    """The split that is meant; the same object for the same short spelling."""
    return choice if isinstance(choice, Split) else _short(choice)


@lru_cache(maxsize=256)
def _short(choice: int | str) -> Split:
    if choice == "frame":
        return Frames()
    if not isinstance(choice, int):
        raise UserError(f"split {choice!r} must be a number of positions, 'frame', or the class of a split")
    return Runs(choice)


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise UserError(f"{name} {value} must be at least 1")
    return value


def _fitting(name: str, size: int, grid: Grid) -> int:
    if size > math.prod(grid):
        raise UserError(f"{name} {size} must lie between 1 and the {math.prod(grid)} positions of the grid")
    return size


@lru_cache(maxsize=256)
def _subgrids(grid: Grid, scales: int) -> Layout:
    raster = grid_layout(grid)
    t, h, w = raster.position[0].unbind(-1)
    scale = torch.zeros_like(t)
    for finer in range(1, scales):
        step = 2 ** (scales - finer)
        scale = torch.where((h % step != 0) | (w % step != 0), finer, scale)
    unit = (t * scales + scale).unique(return_inverse=True)[1]  # without the scales that a narrow grid lacks
    order = unit.argsort(stable=True)
    return raster.take(order).but(rank=raster.rank, block=unit[order][None])


def _random_order(length: int, draws: Draws, first: Tensor | None) -> Tensor:
    """(B, N) int64 raster indices."""
    chance = draws.uniform("split/order", length)
    return (chance if first is None else chance - first.double()).argsort(dim=1, stable=True)


def _ordered(grid: Grid, order: Tensor, unit: Tensor) -> Layout:
    raster = grid_layout(grid).to(order.device)
    return raster.take(order).but(rank=raster.rank.expand_as(order), block=unit)
