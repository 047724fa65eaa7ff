"""Layout: what every position of a packed sequence *is*. Combinators, not flags.

Three clocks that are never derived from one another: who may be seen (`rank`, `block`), where a position stands
(`position`), and what must be predicted there (targets and weights, which belong to a paradigm's Corrupted).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import Grid


class Role:
    """What a position carries.

    Plain integers and no IntEnum: `field == Role.CLEAN` must stay a tensor when FlexAttention traces a predicate, and
    torch 2.14 folds the comparison of a traced tensor with an enum member to False, without a word.
    """

    PREFIX = 0
    CLEAN = 1
    NOISY = 2
    SENTINEL = 3  # stands for a span of data that comes later in the row; `segment` says which


@dataclass(frozen=True, eq=False)
class Layout:
    """The fields of N positions. Each is (b, N) int64, `position` is (b, N, 3); b is 1 (shared) or the batch.

    Attributes:
        position: (t, h, w) for rotary and absolute position tables.
        rank: order of generation, the index in raster order by default; prefixes have negative ranks.
        block: autoregressive unit; -1 for prefixes.
        frame: index of the video frame; -1 where there is none (prefix, text).
        document: positions of different documents never meet; negative for padding, where each position is alone.
        segment: turn, label or branch.
        level: codebook depth.
        role: a Role.
    """

    position: Tensor
    rank: Tensor
    block: Tensor
    frame: Tensor
    document: Tensor
    segment: Tensor
    level: Tensor
    role: Tensor

    @property
    def length(self) -> int:
        """Number of positions N."""
        return self.rank.shape[1]

    @property
    def batch(self) -> int:
        """1 for a layout shared by all rows."""
        return self.rank.shape[0]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Layout":
        """Apply one function to every field."""
        return Layout(*(change(getattr(self, field.name)) for field in fields(self)))

    def __add__(self, other: "Layout") -> "Layout":
        """This layout's positions, then the other's."""
        return _cached_concatenate(self, other) if self.batch == other.batch == 1 else _concatenate(self, other)

    def slice(self, start: int, stop: int | None = None) -> "Layout":
        """Positions start to stop of the row."""
        return _cached_slice(self, start, stop) if self.batch == 1 else _slice(self, start, stop)

    def take(self, order: Tensor) -> "Layout":
        """Positions in another order; order is (N',) int64 for all rows or (B, N') a row. Every field moves along."""
        if order.dim() == 1:
            return self.map(lambda field: field[:, order])
        rows = torch.arange(len(order), device=order.device)[:, None]
        return self.map(lambda field: _expand(field, len(order))[rows, order])

    def expand(self, batch: int) -> "Layout":
        """The same layout for every one of `batch` rows, without copying."""
        return self.map(lambda field: _expand(field, batch))

    def repeat(self, times: int) -> "Layout":
        """Stack the batch on itself, as guidance does with its two halves; a shared layout stays shared."""
        return self if self.batch == 1 else self.map(lambda field: torch.cat([field] * times))

    def to(self, device: torch.device) -> "Layout":
        """The same layout on another device; itself where it already lies there."""
        if self.rank.device == device:
            return self
        return _cached_to(self, device) if self.batch == 1 else _to(self, device)

    def but(self, **changes: Tensor | int) -> "Layout":
        """Replace fields; an integer fills the whole field."""
        filled = {
            name: torch.full_like(self.rank, value) if isinstance(value, int) else value
            for name, value in changes.items()
        }
        return replace(self, **filled)


def _expand(field: Tensor, batch: int) -> Tensor:
    return field.expand(batch, *field.shape[1:])


def _concatenate(first: Layout, second: Layout) -> Layout:
    batch = max(first.batch, second.batch)
    pairs = ((getattr(first, f.name), getattr(second, f.name)) for f in fields(first))
    return Layout(*(torch.cat([_expand(a, batch), _expand(b, batch)], dim=1) for a, b in pairs))


def _slice(layout: Layout, start: int, stop: int | None) -> Layout:
    return layout.map(lambda field: field[:, start:stop])


def _to(layout: Layout, device: torch.device) -> Layout:
    return layout.map(lambda field: field.to(device))


# Layouts hash by identity. Shared ones (b = 1) come back as the same object when they are built again in the same way,
# so that whatever is derived from them (dense masks, block masks, rotary tables) is found again too.
_cached_concatenate = remember(1024)(_concatenate)
_cached_slice = remember(8192)(_slice)
_cached_to = remember(1024)(_to)


def _plain(position: Tensor, rank: Tensor, **fields: Tensor) -> Layout:
    zeros = torch.zeros_like(rank)
    role = torch.full_like(rank, Role.CLEAN)
    base = dict(block=rank, frame=zeros, document=zeros, segment=zeros, level=zeros, role=role)
    return Layout(position=position, rank=rank, **(base | fields))


def blocks(length: int, size: int) -> Tensor:
    """(length,) int64 block numbers in blocks of `size`; a remainder comes first, as an image before its video."""
    if not 1 <= size <= length:
        raise UserError(f"block_size {size} must lie between 1 and the {length} positions of the grid")
    index = torch.arange(length)
    return (index + (-length) % size) // size


@remember(256)
def grid_layout(grid: Grid, block_size: int | None = None) -> Layout:
    """One sample's (T, H, W) grid in raster order: rank is the raster index, frame is t, and a block has `block_size`
    positions (see `blocks`), one by default.
    """
    axes = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    position = torch.stack(axes, dim=-1).reshape(1, -1, 3)
    rank = torch.arange(position.shape[1])[None]
    block = rank if block_size is None else blocks(rank.shape[1], block_size)[None]
    return _plain(position, rank, block=block, frame=position[..., 0].clone())


@remember(256)
def tile_layout(grid: Grid, side: int) -> Layout:
    """One sample's (T, H, W) grid in square tiles of `side` rows, tile after tile in raster order, each in raster order
    within (ACDiT, Hu et al. 2024). The rank is the index in this order, the block is the tile. Tiles that do not fit
    come first, as in `blocks`: 7 rows in tiles of 4 are 3 + 4.
    """
    height, width = grid[1:]
    if not 1 <= side <= min(height, width):
        raise UserError(f"tiles of {side} x {side} do not fit a grid of {height} x {width}")
    raster = grid_layout(grid)
    t, h, w = raster.position[0].unbind(-1)
    rows, columns = blocks(height, side), blocks(width, side)
    tile = (t * (rows[-1] + 1) + rows[h]) * (columns[-1] + 1) + columns[w]
    order = tile.argsort(stable=True)
    return raster.take(order).but(rank=raster.rank, block=tile[order][None])


def raster_index(layout: Layout, grid: Grid) -> Tensor:
    """(N,) int64 index of each position in the raster order of its grid; (B, N) of a layout that rows do not share."""
    t, h, w = layout.position.unbind(-1)
    index = (t * grid[1] + h) * grid[2] + w
    return index[0] if layout.batch == 1 else index


@remember(256)
def prefix(length: int) -> Layout:
    """`length` condition positions: at the origin, before every rank, in no block and no frame."""
    rank = torch.arange(-length, 0)[None]
    outside = torch.full_like(rank, -1)
    role = torch.full_like(rank, Role.PREFIX)
    return _plain(torch.zeros(1, length, 3, dtype=torch.int64), rank, block=outside, frame=outside, role=role)


@remember(256)
def text_prefix(length: int, pace: float) -> Layout:
    """`length` characters of a text as a prefix: character i stands where its sound is expected, at t = i x pace
    tokens, so that rotary positions tell how far a token is from it (compare length-aware RoPE, Kim et al. 2025). Pace
    0 puts all at the origin.
    """
    places = torch.arange(length) * pace
    position = torch.stack([places.round().long(), *torch.zeros(2, length, dtype=torch.int64)], dim=-1)
    return prefix(length).but(position=position[None])


@remember(256)
def clean(layout: Layout) -> Layout:
    """The copy of a layout that carries data as it is."""
    return layout.but(role=Role.CLEAN)


@remember(256)
def noisy(layout: Layout) -> Layout:
    """The copy of a layout that carries data to be recovered; same positions, ranks and blocks as the clean copy."""
    return layout.but(role=Role.NOISY)


def pack(layouts: Sequence[Layout]) -> Layout:
    """Several samples in one row, each a document; packed samples keep their documents apart, and padding stays
    padding.
    """
    if not layouts:
        raise UserError("pack needs at least one layout")
    parts, documents, positions = [], 0, 0
    for layout in layouts:
        own = layout.document
        parts.append(layout.but(document=torch.where(own < 0, own - positions, own + documents)))
        documents += max(int(own.max()) + 1, 0)
        positions += layout.length
    return reduce(add, parts)


def pad(layout: Layout, lengths: Tensor | None, start: int = 0) -> Layout:
    """Per-row lengths (B,), None for no padding: from position `start` on, row b keeps its first lengths[b] positions.
    A padding position is a document of its own (document < 0): it sees itself alone, and nobody sees it.
    """
    if lengths is None:
        return layout
    index = torch.arange(layout.length, device=lengths.device)[None] - start
    padding = index >= lengths[:, None]
    full = layout.expand(len(lengths))
    return full.but(document=torch.where(padding, -1 - index.abs(), full.document))
