"""Blockwise masked diffusion: autoregression over blocks, masked denoising inside a block (BD3-LM, Arriola et al.
2025).

The discrete sibling of ACDiT (Hu et al. 2024): training reads a clean and a corrupted copy of the sequence in one
skip-causal row; the block size slides from one token (autoregression) to the whole grid (masked generation).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.draws import Draws
from mmgen.generator import Generator
from mmgen.heads import discrete
from mmgen.layout import pad
from mmgen.paradigms.base import Canvas, Corrupted, Request, SampleOptions, real_positions
from mmgen.paradigms.blocks import Blockwise, Passes
from mmgen.paradigms.corruption import hide
from mmgen.paradigms.decoding import unmask
from mmgen.paradigms.schedules import ScheduleName
from mmgen.tokens import Tokens


class BlockDiffusion(Blockwise):
    """Each block is revealed in a few masked steps, given the finished blocks, whose keys and values are cached.

    With the linear schedule the loss is a bound on the negative log-likelihood in nats per token, and with block_size
    1 the likelihood itself.

    Args:
        block_size: tokens a block, from 1 to the whole grid; a remainder block comes first.
        schedule: law of the hidden share of a block in training, and of what stays hidden after each sampling step.
        mask: who may see whom; one that shows a corrupted block its own clean copy, or a later one, is refused.
        steps: sampling steps a block where none are asked for; never more than the block has tokens.
        tiles: blocks are square tiles of sqrt(block_size) tokens a side instead of runs in raster order.
    """

    likelihood = "bound"
    drafts = False

    def __init__(
        self,
        block_size: int,
        schedule: ScheduleName = "linear",
        mask: str = "skip_causal",
        steps: int = 4,
        tiles: bool = False,
    ) -> None:
        super().__init__(block_size, tiles, mask, steps)
        self.schedule = schedule

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The row is the prefix, the clean tokens but for the last block, which nobody reads, and the corrupted copy of
        all; hidden positions of the copy predict themselves.
        """
        row = self.row(generator, tokens.grid, tokens.values.device)
        tokens = tokens if row.order is None else tokens.reorder(row.order)
        real = real_positions(tokens.values, tokens.lengths)
        hidden, weights = hide(row.unit, row.count, real, self.schedule, draws)
        read = slice(0, row.read)
        layout = row.prefix + pad(row.clean.slice(0, row.read), tokens.lengths) + pad(row.noisy, tokens.lengths)
        values = torch.cat([tokens.values[:, read], tokens.values], dim=1)
        both = torch.cat([torch.zeros_like(hidden[:, read]), hidden], dim=1)
        return Corrupted(values, both, layout, self.mask, tokens.values, weights)

    def bound(self, generator: Generator, tokens: Tokens, labels: Tensor, draws: Draws) -> Tensor:
        """Under the linear schedule, whatever the training schedule is: only that one is a bound."""
        linear = BlockDiffusion(self.block_size, "linear", self.mask.name, self.steps, self.tiles)
        return linear.losses(generator, tokens, labels, draws)[self.mode].double()

    def fill(
        self, passes: Passes, canvas: Canvas, here: slice, block: int, request: Request, options: SampleOptions
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return unmask(
            lambda tokens, committed: passes.predict(tokens, hidden=~committed),
            discrete(passes.model.generator.head, type(self).__name__),
            canvas.tokens[:, here], canvas.committed[:, here], options.decoding, self.schedule,
            min(options.steps or self.steps, here.stop - here.start), request.draws, f"block/{block}",
        )  # fmt: skip
