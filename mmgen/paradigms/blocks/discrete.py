"""Blockwise masked diffusion: autoregression over blocks, masked denoising inside a block (BD3-LM, Arriola et al.
2025), the discrete sibling of ACDiT (Hu et al. 2024). The block size slides from one token (autoregression) to the
whole grid (masked generation); with frames as blocks it is MAGI (Zhou et al. 2025).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.masks import MaskName
from mmgen.core.tokens import Tokens
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Corrupted, Request, SampleOptions
from mmgen.paradigms.blocks.blockwise import Blockwise, Context, History, Passes
from mmgen.paradigms.canvas import Canvas, real_positions
from mmgen.paradigms.codes import Unit, require_unit
from mmgen.paradigms.schedules import RevealScheduleName, ScheduleName
from mmgen.paradigms.splits import SplitChoice


class BlockDiffusion(Blockwise):
    """Each block is revealed in a few masked steps, given the finished blocks, whose keys and values are cached.

    With the linear schedule the loss is a bound on the negative log-likelihood in nats per token, and with blocks of
    one token the likelihood itself.

    Args:
        split: how a grid falls into blocks: tokens a block, from 1 to the whole grid, a smaller remainder first;
            `frame`; or another split.
        schedule: law of the hidden share of a block in training.
        mask: who may see whom; one that shows a block its own answer, or a later block, is refused. By default
            skip_causal for a complete history, block_causal for a corrupted one.
        steps: sampling steps a block where none are asked for; never more than the block has units.
        history: what a block is given of those before it in training: `complete` (complete teacher forcing, MAGI, Zhou
            et al. 2025), or `corrupted`, with tokens hidden as its own are (masked teacher forcing).
        window: blocks in all that a block sees, itself among them, in training and in sampling; None for all.
        sink: blocks at the beginning that stay visible besides.
        context_noise: with a complete history, the largest share of its tokens that are replaced by random ones in
            training; with a corrupted one, the share that is hidden when a finished block enters the cache.
        sampling_schedule: what stays hidden of a block after each sampling step, as for `Masked`; the training schedule
            where None.
        unit: what is hidden, replaced and revealed together, `code` or `token`, see `Codes`.
    """

    drafts = False

    def __init__(
        self,
        split: SplitChoice,
        schedule: ScheduleName = "linear",
        mask: MaskName | None = None,
        steps: int = 4,
        history: History = "complete",
        window: int | None = None,
        sink: int = 0,
        context_noise: float = 0.0,
        sampling_schedule: RevealScheduleName | None = None,
        unit: Unit | None = None,
    ) -> None:
        super().__init__(split, mask, steps, history, window, sink, context_noise)
        self.schedule: ScheduleName = schedule
        self.unit = require_unit(unit)
        self.sampling_schedule: RevealScheduleName = sampling_schedule or schedule
        # Sampling meets a history as it is: what is learned from a corrupted one is no bound on that likelihood.
        self.likelihood = "bound" if history == "complete" else None
        self.measured = {"schedule": "linear", "context_noise": 0.0, "split": self.split.for_sampling()}

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """What is hidden in the corrupted copy predicts itself."""
        row = self.row(generator, tokens.grid, draws)
        tokens = tokens if row.order is None else tokens.reorder(row.order)
        real = real_positions(tokens.values, tokens.lengths)
        codes = self.codes(generator)
        hidden, weights = codes.hide(row.unit, row.count, real, self.schedule, draws)
        context = tokens.values
        if self.history == "complete" and self.context_noise:
            share = self.context_noise * row.spread(draws.uniform("context_noise", row.count))
            context = codes.replace(context, share, "context", draws)
        values, layout = self.training_row(row, context, tokens.values, tokens.lengths)
        seen = hidden.new_zeros(len(hidden), values.shape[1] - hidden.shape[1], *hidden.shape[2:])
        hidden = torch.cat([seen, hidden], dim=1)
        return Corrupted(values, hidden, layout, self.mask, tokens.values, weights)

    def context_from(self, generator: Generator, tokens: Tensor, noise: float, block: int, draws: Draws) -> Context:
        """With a share of random tokens (complete history) or of mask tokens (corrupted history)."""
        name, codes = f"block/{block}/context", self.codes(generator)
        if self.history == "complete":
            return Context(codes.replace(tokens, noise, name, draws) if noise else tokens)
        return Context(tokens, codes.by_token(draws.uniform(name, codes.units * tokens.shape[1]) < noise))

    def fill(
        self, passes: Passes, canvas: Canvas, here: slice, block: int, request: Request, options: SampleOptions
    ) -> Iterator[tuple[Tensor, Tensor]]:
        codes = self.codes(passes.model.generator)
        return codes.unmask(
            passes.predict, canvas.tokens[:, here], canvas.committed[:, here], options.decoding, self.sampling_schedule,
            min(options.steps or self.steps, codes.units * (here.stop - here.start)), request.draws, f"block/{block}",
        )  # fmt: skip
