"""Blockwise masked diffusion: autoregression over blocks, masked denoising inside a block (BD3-LM, Arriola et al.
2025).

The discrete sibling of ACDiT (Hu et al. 2024): training reads a clean and a corrupted copy of the sequence in one
skip-causal row; the block size slides from one token (autoregression) to the whole grid (masked generation).
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from mmgen.draws import Draws
from mmgen.errors import UserError
from mmgen.generator import Generator
from mmgen.layout import Layout, Role, clean, grid_layout, noisy, pad, prefix
from mmgen.mask import Mask
from mmgen.paradigms.base import Canvas, Corrupted, Paradigm, Request, SampleOptions, State, real_positions
from mmgen.paradigms.corruption import hide
from mmgen.paradigms.decoding import unmask
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.paradigms.schedules import ScheduleName
from mmgen.remember import remember
from mmgen.tokens import Grid, Tokens


class BlockDiffusion(Paradigm):
    """Each block is revealed in a few masked steps, given the finished blocks, whose keys and values are cached.

    With the linear schedule the loss is a bound on the negative log-likelihood in nats per token, and with block_size
    1 the likelihood itself.

    Args:
        block_size: tokens a block, from 1 to the whole grid; a remainder block comes first.
        schedule: law of the hidden share of a block in training, and of what stays hidden after each sampling step.
        mask: who may see whom; one that shows a corrupted block its own clean copy, or a later one, is refused.
        steps: sampling steps a block where none are asked for; never more than the block has tokens.
    """

    mode = "block"

    def __init__(
        self, block_size: int, schedule: ScheduleName = "linear", mask: str = "skip_causal", steps: int = 4
    ) -> None:
        super().__init__(mask)
        if block_size < 1:
            raise UserError(f"block_size {block_size} must be at least 1")
        self.block_size, self.schedule, self.steps = block_size, schedule, steps

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The row is the prefix, the clean tokens but for the last block, which nobody reads, and the corrupted copy of
        all; hidden positions of the copy predict themselves.
        """
        start = generator.prefix_length
        head, copy, twin = _parts(start, tokens.grid, self.block_size, tokens.values.device)
        _require_right(self.mask, head + copy + twin)
        real, blocks = real_positions(tokens.values, tokens.lengths), -(-copy.length // self.block_size)
        hidden, weights = hide(copy.block[0], blocks, real, self.schedule, draws)
        read = copy.length - self.block_size
        layout = head + pad(copy.slice(0, read), tokens.lengths) + pad(twin, tokens.lengths)
        values = torch.cat([tokens.values[:, :read], tokens.values], dim=1)
        both = torch.cat([torch.zeros_like(hidden[:, :read]), hidden], dim=1)
        return Corrupted(values, both, layout, self.mask, tokens.values, weights)

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """Block after block; `keep` may fix any positions up to and in the block of the first unknown one.

        A finished block enters the cache together with the first pass over the next one, so that it costs no pass of
        its own.
        """
        canvas = Canvas(generator, request)
        head, copy, twin = _parts(generator.prefix_length, generator.spec.grid, self.block_size, canvas.tokens.device)
        _require_right(self.mask, head + copy + twin)
        unit = copy.block[0, : canvas.length]
        canvas.require_reachable(unit, self.mode)
        copy, twin = (pad(part.slice(0, canvas.length), canvas.lengths) for part in (copy, twin))
        bounds = [int(b) for b in torch.searchsorted(unit, torch.arange(int(unit[-1]) + 2, device=unit.device))]
        capacity = head.length + canvas.length + self.block_size
        model = GuidedGenerator(generator, request.labels, options.guidance, capacity=capacity)
        passes, step = _Passes(model, self.mask, head, canvas), 0
        yield canvas.state(0, 0, 0)
        for block, (begin, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            states = unmask(
                partial(passes.logits, twin.slice(begin, end)), generator.head,
                canvas.tokens[:, begin:end], canvas.committed[:, begin:end], options.decoding, self.schedule,
                min(options.steps or self.steps, end - begin), request.draws, f"block/{block}",
            )  # fmt: skip
            for tokens, committed in states:
                canvas.tokens[:, begin:end], canvas.committed[:, begin:end] = tokens, committed
                step += 1
                yield canvas.state(step, block, model.forward_passes)
            passes.finish(copy.slice(begin, end), canvas.tokens[:, begin:end])


class _Passes:
    """Passes over a corrupted block; what is finished since the last one comes along in front and enters the cache."""

    def __init__(self, model: GuidedGenerator, mask: Mask, prefix: Layout, canvas: Canvas) -> None:
        self.model, self.mask, self.canvas = model, mask, canvas
        self.finished: Layout | None = prefix
        self.tokens = canvas.tokens[:, :0]

    def logits(self, block: Layout, tokens: Tensor, committed: Tensor) -> Tensor:
        """Guided logits of the block's positions."""
        layout = block if self.finished is None else self.finished + block
        values = torch.cat([self.tokens, tokens], dim=1)
        hidden = torch.cat([torch.zeros_like(self.tokens, dtype=torch.bool), ~committed], dim=1)
        store = layout.length - block.length
        self.finished, self.tokens = None, self.tokens[:, :0]
        return self.model(values, layout, self.mask, self.canvas.progress(), hidden, store, outputs=block.length)

    def finish(self, block: Layout, tokens: Tensor) -> None:
        """A block will not change any more; block is its clean layout."""
        self.finished = block if self.finished is None else self.finished + block
        self.tokens = torch.cat([self.tokens, tokens], dim=1)


@remember(256)
def _parts(prefix_length: int, grid: Grid, block_size: int, device: torch.device) -> tuple[Layout, Layout, Layout]:
    """Prefix, clean copy and corrupted copy."""
    layout = grid_layout(grid, block_size)
    return prefix(prefix_length).to(device), clean(layout).to(device), noisy(layout).to(device)


@remember(256)
def _require_right(mask: Mask, row: Layout) -> None:
    """A corrupted block must not see the answer, and the clean stream must be final block by block."""
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
