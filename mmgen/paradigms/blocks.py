"""What all blockwise paradigms share: the row of a clean and a noisy copy, and cached sampling block after block."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from mmgen.errors import UserError
from mmgen.generator import Generator
from mmgen.layout import Layout, Role, clean, grid_layout, noisy, pad, prefix, raster_index, tile_layout
from mmgen.mask import Mask
from mmgen.paradigms.base import Canvas, Paradigm, Request, SampleOptions, State
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.remember import remember
from mmgen.tokens import Grid


@dataclass(frozen=True, eq=False)
class BlockRow:
    """The parts of a training row; a block's number is the same in both copies.

    Attributes:
        prefix: positions of the condition.
        clean: data as it is, block after block.
        noisy: the copy to be recovered, same positions in the same order.
        order: (N,) raster index of each position, None in raster order.
        unit: (N,) block numbers, ascending from 0.
        bounds: where each block begins, and the end of the last.
    """

    prefix: Layout
    clean: Layout
    noisy: Layout
    order: Tensor | None
    unit: Tensor
    bounds: list[int]

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.bounds) - 1

    @property
    def read(self) -> int:
        """How many clean positions anybody reads: all but the last block."""
        return self.bounds[-2]


class Blockwise(Paradigm):
    """Block after block, each given the finished ones under a skip-causal mask.

    Args:
        block_size: tokens a block, from 1 to the whole grid; a smaller remainder comes first.
        tiles: blocks are square tiles of sqrt(block_size) positions a side instead of runs in raster order.
        mask: who may see whom; one that shows a noisy block its own clean copy, or a later one, is refused.
        steps: sampling steps a block where none are asked for.
    """

    mode = "block"
    drafts: bool
    """Whether a block's tokens are worth looking at before they are committed."""

    def __init__(self, block_size: int, tiles: bool, mask: str, steps: int) -> None:
        super().__init__(mask)
        if block_size < 1:
            raise UserError(f"block_size {block_size} must be at least 1")
        if tiles and isqrt(block_size) ** 2 != block_size:
            raise UserError(f"block_size {block_size} is no square, so that its tiles are none; take 4, 9, 16, ..")
        if steps < 1:
            raise UserError(f"steps {steps} must be at least 1")
        self.block_size, self.tiles, self.steps = block_size, tiles, steps

    def row(self, generator: Generator, grid: Grid, device: torch.device) -> BlockRow:
        """The parts of a row for this grid; UserError where the mask is wrong for them."""
        row = block_row(generator.prefix_length, grid, self.block_size, self.tiles, device)
        _require_right(self.mask, row.prefix + row.clean + row.noisy)
        return row

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """Block after block; `keep` may fix any positions up to and in the block of the first unknown one.

        A finished block enters the cache together with the first pass over the next one, so that it costs no pass of
        its own.
        """
        options.decoding.require_supported(f"mode {self.mode!r}")
        row = self.row(generator, generator.spec.grid, request.labels.device)
        canvas = Canvas(generator, request, row.order)
        unit = row.unit[: canvas.length]
        canvas.require_reachable(unit, self.mode)
        copy, twin = (pad(part.slice(0, canvas.length), canvas.lengths) for part in (row.clean, row.noisy))
        longest = max(end - begin for begin, end in zip(row.bounds, row.bounds[1:]))
        capacity = row.prefix.length + canvas.length + longest
        model = GuidedGenerator(generator, request.labels, options.guidance, capacity=capacity)
        passes, step = Passes(model, self.mask, row.prefix, canvas), 0
        yield canvas.state(0, 0, 0)
        for block, (begin, end) in enumerate(zip(row.bounds, row.bounds[1:])):
            here = slice(begin, min(end, canvas.length))
            if here.start >= here.stop:
                break
            passes.begin(twin.slice(here.start, here.stop))
            for tokens, committed in self.fill(passes, canvas, here, block, request, options):
                canvas.tokens[:, here], canvas.committed[:, here] = tokens, committed
                step += 1
                drafted = torch.zeros_like(canvas.committed)
                drafted[:, here] = self.drafts
                yield canvas.state(step, block, model.forward_passes, drafted)
            passes.finish(copy.slice(here.start, here.stop), canvas.tokens[:, here])

    @abstractmethod
    def fill(
        self, passes: "Passes", canvas: Canvas, here: slice, block: int, request: Request, options: SampleOptions
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Recover one block, canvas[:, here]: its tokens and which of them are committed, after each step."""


class Passes:
    """Passes over a noisy block; what is finished since the last one comes along in front and enters the cache."""

    def __init__(self, model: GuidedGenerator, mask: Mask, prefix: Layout, canvas: Canvas) -> None:
        self.model, self.mask, self.canvas = model, mask, canvas
        self.finished: Layout | None = prefix
        self.tokens = canvas.tokens[:, :0]
        self.block = prefix

    def begin(self, block: Layout) -> None:
        """The noisy layout of the block that the next passes are over."""
        self.block = block

    def predict(self, tokens: Tensor, hidden: Tensor | None = None, level: float | None = None) -> Tensor:
        """The head's guided prediction for the block's positions, all at one noise level if there is one."""
        layout = self.block if self.finished is None else self.finished + self.block
        values = torch.cat([self.tokens, tokens], dim=1)
        before = self.tokens.new_zeros(self.tokens.shape[:2], dtype=torch.bool)
        concealed = None if hidden is None else torch.cat([before, hidden], dim=1)
        levels = None
        if level is not None:
            levels = values.new_zeros(values.shape[:2], dtype=torch.float64)
            levels[:, before.shape[1] :] = level
        store = layout.length - self.block.length
        self.finished, self.tokens = None, self.tokens[:, :0]
        progress = self.canvas.progress()
        return self.model(
            values, layout, self.mask, progress, concealed, store, outputs=self.block.length, levels=levels
        )

    def finish(self, block: Layout, tokens: Tensor) -> None:
        """A block will not change any more; block is its clean layout."""
        self.finished = block if self.finished is None else self.finished + block
        self.tokens = torch.cat([self.tokens, tokens], dim=1)


@remember(256)
def block_row(prefix_length: int, grid: Grid, block_size: int, tiles: bool, device: torch.device) -> BlockRow:
    """The parts of a row, found again for each shape and device."""
    layout = tile_layout(grid, isqrt(block_size)) if tiles else grid_layout(grid, block_size)
    unit = layout.block[0]
    bounds = torch.searchsorted(unit, torch.arange(int(unit[-1]) + 2)).tolist()
    order = raster_index(layout, grid).to(device) if tiles else None
    head, copy, twin = (part.to(device) for part in (prefix(prefix_length), clean(layout), noisy(layout)))
    return BlockRow(head, copy, twin, order, unit.to(device), bounds)


@remember(256)
def _require_right(mask: Mask, row: Layout) -> None:
    """A noisy block must not see the answer, and the clean stream must be final block by block."""
    mask.require_cacheable(row, row.block)
    sees = mask.dense(row, row)[0, 0]
    role, block = row.role[0], row.block[0]
    answer = (role == Role.NOISY)[:, None] & (role == Role.CLEAN)[None] & (block[None] >= block[:, None])
    if bool((sees & answer).any()):
        raise UserError(
            f"mask {mask.name!r} shows a corrupted block its own clean copy or a later one, so the loss would be"
            " near zero and the samples worthless; use skip_causal"
        )
    future = (role == Role.NOISY)[:, None] & (role == Role.NOISY)[None] & (block[None] != block[:, None])
    if bool((sees & future).any()):
        raise UserError(
            f"mask {mask.name!r} lets corrupted blocks see each other, which sampling cannot repeat; use skip_causal"
        )
