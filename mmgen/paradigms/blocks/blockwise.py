"""What all blockwise paradigms share: the training row, and cached sampling block after block."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal, cast

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import require
from mmgen.core.layout import Layout, Role, clean, noisy, pad, raster_index
from mmgen.core.mask import Mask
from mmgen.core.masks import MaskName
from mmgen.core.shape_cache import passing, remember
from mmgen.core.tokens import Grid
from mmgen.core.window import Window
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.canvas import Canvas
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.paradigms.splits import Split, SplitChoice, get_split

History = Literal["complete", "corrupted"]


@dataclass(frozen=True, eq=False)
class BlockRow:
    """The parts of a training row; a block's number is the same in both copies."""

    prefix: Layout  # positions of the condition
    clean: Layout  # data as it is, block after block
    noisy: Layout  # the copy to be recovered, same positions in the same order
    order: Tensor | None  # (N,) raster indices, (B, N) for drawn orders; None in raster order
    unit: Tensor  # (N,) block numbers, ascending from 0, or (B, N) for drawn sizes
    bounds: list[int]  # where blocks begin, and the end; for drawn sizes, as if all had one position
    read: int  # clean positions that are read: all but the last block, unless sizes are drawn

    @property
    def count(self) -> int:
        """Number of blocks, the largest that there can be where sizes are drawn."""
        return len(self.bounds) - 1

    def spread(self, each: Tensor) -> Tensor:
        """What each block has, (B, count), at its positions, (B, N)."""
        return each[:, self.unit] if self.unit.dim() == 1 else each.gather(1, self.unit)


class Blockwise(Paradigm):
    """Block after block, each given those before it.

    With a `complete` history training reads two copies of the data in one skip-causal row: a corrupted one to be
    recovered, block by block, given a clean one (complete teacher forcing, MAGI, Zhou et al. 2025). With a `corrupted`
    history it reads one copy, in which every block is corrupted on its own and sees those before it as they are: half
    the positions, but sampling then meets histories that are cleaner than those of training.
    """

    mode = "block"
    starts = False
    drafts: bool
    """Whether a block's tokens are worth looking at before they are committed."""

    def __init__(
        self,
        split: SplitChoice,
        mask: MaskName | None,
        steps: int,
        history: History,
        window: int | None,
        sink: int,
        context_noise: float,
    ) -> None:
        super().__init__(mask or ("skip_causal" if history == "complete" else "block_causal"))
        require(steps >= 1, f"steps {steps} must be at least 1")
        require(0 <= context_noise <= 1, f"context_noise {context_noise} must lie in [0, 1]")
        self.split, self.steps = get_split(split), steps
        self.history, self.window, self.context_noise = history, Window(window, sink), context_noise
        self.mask = self.window.restrict(self.mask)

    def row(self, generator: Generator, grid: Grid, draws: Draws) -> BlockRow:
        """The parts of a training row for this grid; UserError where the mask is wrong for them."""
        # Of a longer grid the whole square of pairs might not fit the memory.
        seen = _example(generator.prefix, self.split, generator.spec.grid, draws.samples.device)
        streams = seen.clean + seen.noisy if self.history == "complete" else seen.noisy
        _require_right(self.mask, seen.prefix + streams)
        return block_row(generator.prefix, self.split, grid, draws)

    def sampling_row(self, generator: Generator, request: Request) -> BlockRow:
        """The parts of the row that is generated; where its order is drawn, known positions come first."""
        grid = request.whole(generator)
        self.row(generator, generator.spec.grid, request.draws)  # refuses a wrong mask
        return block_row(generator.prefix, self.split.for_sampling(), grid, request.draws, request.keep)

    def training_row(
        self, row: BlockRow, data: Tensor, noised: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, Layout]:
        """Values and layout of a training row: the history `data` (B, N), (B, N, Q) or (B, N, C), but for the last
        block, which nobody reads, and the corrupted copy `noised`; or that one alone, for a corrupted history.
        """
        own = row.prefix + pad(row.noisy, lengths)
        if self.history == "corrupted":
            return noised, own
        layout = row.prefix + pad(row.clean.slice(0, row.read), lengths) + pad(row.noisy, lengths)
        return torch.cat([data[:, : row.read], noised], dim=1), layout

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """Block after block, or several at a time; `keep` may fix any positions up to and in the block of the first
        unknown one, and in a drawn order any at all. A finished block enters the cache with the first pass over the
        next one.
        """
        options.decoding.require_supported(f"mode {self.mode!r}")
        if self.history == "complete":
            options.require_one_block("with a complete history no block ever saw an unfinished one")
        row = self.sampling_row(generator, request)
        canvas = Canvas(generator, request, row.order)
        unit = row.unit[: canvas.length]
        canvas.require_reachable(unit, self.mode)
        copy, twin = (pad(part.slice(0, canvas.length), canvas.lengths) for part in (row.clean, row.noisy))
        stored = copy if self.history == "complete" else twin
        longest = options.parallel_blocks * max(end - begin for begin, end in zip(row.bounds, row.bounds[1:]))
        capacity = self.window.capacity(row.prefix.length, canvas.length, longest)
        model = request.guided(generator, options.guidance, capacity, ahead=False)
        passes, step = Passes(model, self, row.prefix, canvas), 0
        frame = row.noisy.frame.amax(0).tolist()
        yield canvas.state(0, 0, 0)
        for block, here in _turns(row.bounds, canvas, options.parallel_blocks):
            model.steer(max(frame[here]))
            passes.begin(twin.slice(here.start, here.stop))
            for tokens, committed in self.fill(passes, canvas, here, block, request, options):
                canvas.tokens[:, here], canvas.committed[:, here] = tokens, committed
                step += 1
                drafted = torch.zeros_like(canvas.committed)
                drafted[:, here] = self.drafts
                yield canvas.state(step, block, model.forward_passes, drafted)
            level = options.context_noise if options.context_noise is not None else self.context_level
            finished = self.context_from(generator, canvas.tokens[:, here], level, block, request.draws)
            passes.finish(stored.slice(here.start, here.stop), finished, block)

    @property
    def context_level(self) -> float:
        """Noise of a finished block in the cache where none is asked for."""
        return self.context_noise if self.history == "corrupted" else 0.0

    @abstractmethod
    def fill(
        self, passes: "Passes", canvas: Canvas, here: slice, block: int, request: Request, options: SampleOptions
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Recover one block, canvas[:, here]: its tokens and which of them are committed, after each step."""

    @abstractmethod
    def context_from(self, generator: Generator, tokens: Tensor, noise: float, block: int, draws: Draws) -> "Context":
        """A finished block as it enters the cache, with that share of noise."""


def _turns(bounds: list[int], canvas: Canvas, together: int) -> Iterator[tuple[int, slice]]:
    """Blocks that are made together: number of the first, and all positions. Known ones come alone: others see them."""
    block = 0
    while block + 1 < len(bounds) and bounds[block] < canvas.length:
        is_known = bool(canvas.committed[:, bounds[block] : bounds[block + 1]].all())
        last = block + 1 if is_known else min(block + together, len(bounds) - 1)
        yield block, slice(bounds[block], min(bounds[last], canvas.length))
        block = last


@dataclass(frozen=True, eq=False)
class Context:
    """Tokens that the next pass stores in the cache."""

    values: Tensor  # (B, n), (B, n, Q) or (B, n, C)
    hidden: Tensor | None = None  # (B, n) bool, or (B, n, U) by unit, replaced by the mask token
    level: float | None = None  # noise level that the generator is given of all of them


class Passes:
    """Passes over a noisy block; what is finished since the last one comes along in front and enters the cache."""

    def __init__(self, model: GuidedGenerator, paradigm: Blockwise, prefix: Layout, canvas: Canvas) -> None:
        self.model, self.paradigm, self.canvas = model, paradigm, canvas
        self.mask, self.window = paradigm.mask, paradigm.window
        self.finished: Layout | None = prefix
        self.waiting: list[Context] = []
        self.block = prefix

    def begin(self, block: Layout) -> None:
        """The noisy layout of the block that the next passes are over."""
        self.block = block

    def predict(self, tokens: Tensor, hidden: Tensor | None = None, level: float | None = None) -> Tensor:
        """The head's guided prediction for the block's positions, all at one noise level if there is one."""
        return self._run([*self.waiting, Context(tokens, hidden, level)], self.block)

    def finish(self, layout: Layout, context: Context, number: int) -> None:
        """A block, by its number, will not change any more: its layout in the cache, and what it holds."""
        if self.waiting and self.window.width is not None:  # given blocks: no more than one waits, or they do not fit
            self._run(self.waiting, None)
        if self.model.cache is not None and self.model.cache.layout is not None:
            self.model.cache.keep(self.window.visible(self.model.cache.layout, number))
        self.finished = layout if self.finished is None else self.finished + layout
        self.waiting.append(context)

    def _run(self, contexts: list[Context], block: Layout | None) -> Tensor:
        """A pass over what waits, which is stored, and a block, for which it predicts."""
        parts = [layout for layout in (self.finished, block) if layout is not None]
        layout = reduce(add, parts)
        outputs = 0 if block is None else block.length
        hidden = levels = None
        if any(each.hidden is not None for each in contexts):
            by_unit = next(each.hidden.shape[2:] for each in contexts if each.hidden is not None)
            hidden = torch.cat([_or_none_hidden(each, by_unit) for each in contexts], dim=1)
        if any(each.level is not None for each in contexts):
            levels = torch.cat([_levels(each) for each in contexts], dim=1)
        self.finished, self.waiting = None, []
        values, stored = torch.cat([each.values for each in contexts], dim=1), layout.length - outputs
        drawn = self.canvas.order is not None and self.canvas.order.dim() == 2
        modulation = self.paradigm.modulation(self.model.generator, levels)
        with passing() if drawn else self.window.passing():
            return self.model(
                values, layout, self.mask, self.canvas.progress, hidden=hidden, store=stored, outputs=outputs,
                modulation=modulation,
            )  # fmt: skip


def _or_none_hidden(context: Context, by_unit: torch.Size) -> Tensor:
    none = torch.zeros(*context.values.shape[:2], *by_unit, dtype=torch.bool, device=context.values.device)
    return none if context.hidden is None else context.hidden


def _levels(context: Context) -> Tensor:
    level = 0.0 if context.level is None else context.level
    return torch.full(context.values.shape[:2], level, dtype=torch.float64, device=context.values.device)


def block_row(prefix: Layout, split: Split, grid: Grid, draws: Draws, first: Tensor | None = None) -> BlockRow:
    """The parts of a row, where known positions, `first` (B, N) bool, come first in a drawn order; the same object for
    the same shape where nothing is drawn.
    """
    if not split.is_drawn:
        return _fixed_row(prefix, split, grid, draws.samples.device)
    with passing():  # these layouts never come again
        layout = split.layout(grid, draws, first)
        length = layout.length
        unit = layout.block if split.draws_sizes else layout.block[0]
        bounds = list(range(length + 1)) if split.draws_sizes else _bounds(unit)
        order = raster_index(layout, grid).view(layout.batch, -1)
        read = length if split.draws_sizes else bounds[-2]
    return BlockRow(prefix.to(order.device), clean(layout), noisy(layout), order, unit, bounds, read)


@remember(256)
def _fixed_row(prefix: Layout, split: Split, grid: Grid, device: torch.device) -> BlockRow:
    layout = split.layout(grid, Draws(0, torch.zeros(1, dtype=torch.int64)))
    unit = layout.block[0]
    order = None if split.is_raster else raster_index(layout, grid).to(device)
    head, copy, twin = (part.to(device) for part in (prefix, clean(layout), noisy(layout)))
    bounds = _bounds(unit)
    return BlockRow(head, copy, twin, order, unit.to(device), bounds, bounds[-2])


@remember(256)
def _example(prefix: Layout, split: Split, grid: Grid, device: torch.device) -> BlockRow:
    """The parts of one row that the mask is checked on: of several that are drawn, the one with the most blocks."""
    if not split.is_drawn:
        return _fixed_row(prefix, split, grid, device)
    layout = split.layout(grid, Draws(0, torch.arange(8, device=device)))
    row = int(layout.block.amax(1).argmax())
    layout = layout.map(lambda field: field[row : row + 1])
    return BlockRow(prefix.to(device), clean(layout), noisy(layout), None, layout.block[0], [0], 0)


def _bounds(unit: Tensor) -> list[int]:
    return cast(list[int], torch.searchsorted(unit, torch.arange(int(unit[-1]) + 2, device=unit.device)).tolist())


@remember(256)
def _require_right(mask: Mask, row: Layout) -> None:
    """A block must not see its answer or a later block, and what is stored must be final block by block."""
    sees = mask.dense(row, row)[0, 0]
    role, block = row.role[0], row.block[0]
    noisy_query = (role == Role.NOISY)[:, None]
    if not bool((role == Role.CLEAN).any()):  # one stream: what is stored is what is predicted
        later = f"mask {mask.name!r} shows a block those after it, which sampling does not have yet; use block_causal"
        require(not bool((sees & (block[None] > block[:, None])).any()), later)
        return
    mask.require_cacheable(row, row.block)
    answer = noisy_query & (role == Role.CLEAN)[None] & (block[None] >= block[:, None])
    leak = f"mask {mask.name!r} shows a corrupted block its own clean copy or a later one"
    mend = "so the loss would be near zero and the samples worthless; use skip_causal"
    require(not bool((sees & answer).any()), f"{leak}, {mend}")
    others = noisy_query & (role == Role.NOISY)[None] & (block[None] != block[:, None])
    mixed = f"mask {mask.name!r} lets corrupted blocks see each other, which sampling cannot repeat; use skip_causal"
    require(not bool((sees & others).any()), mixed)
