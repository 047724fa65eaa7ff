"""Blockwise diffusion of continuous tokens, from diffusion transformer to token-wise autoregression (ACDiT)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.masks import MaskName
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditioning
from mmgen.model.embeddings.waves import noise_level_for
from mmgen.model.generator import Generator
from mmgen.model.heads import require_regression
from mmgen.paradigms.base import Corrupted, Request, SampleOptions
from mmgen.paradigms.blocks.blockwise import Blockwise, Context, History, Passes
from mmgen.paradigms.canvas import Canvas, real_positions, where
from mmgen.paradigms.diffusion.noise import NoiseProcess
from mmgen.paradigms.splits import SplitChoice


class ContinuousBlockDiffusion(Blockwise):
    """Each block is denoised given the finished blocks, whose keys and values are cached. Training reads a clean and a
    noisy copy in one skip-causal row, with a noise level for each block that modulates the noisy copy alone.

    The loss is the squared error of what the noise process asks for, a mean over tokens and channels. For velocities of
    tokens of unit variance it starts near 2, for epsilon and x0 near 1.

    With a corrupted history it is diffusion forcing (Chen et al. 2024): one copy, a noise level for each block, all of
    which predict.

    Args:
        split: how a grid falls into blocks: tokens a block, from 1 to the whole grid, a smaller remainder first;
            `frame`; or another split.
        process: how blocks are noised, and what the denoiser predicts of them.
        mask: who may see whom; one that shows a block its own answer, or a later block, is refused. By default
            skip_causal for a complete history, block_causal for a corrupted one.
        steps: sampling steps a block where none are asked for.
        history: what a block is given of those before it in training: `complete`, or `corrupted`, each at its own noise
            level.
        window: blocks in all that a block sees, itself among them, in training and in sampling; None for all.
        sink: blocks at the beginning that stay visible besides.
        context_noise: with a complete history, the largest noise level that training gives to it without telling; with
            a corrupted one, the level to which a finished block is noised when it enters the cache, and of which the
            generator is told.
    """

    drafts = True

    def __init__(
        self,
        split: SplitChoice,
        process: NoiseProcess,
        mask: MaskName | None = None,
        steps: int = 25,
        history: History = "complete",
        window: int | None = None,
        sink: int = 0,
        context_noise: float = 0.0,
    ) -> None:
        super().__init__(split, mask, steps, history, window, sink, context_noise)
        self.process = process

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """`noise_level`: the embedding of a block's noise level."""
        return {"noise_level": noise_level_for(backbone)}

    def require(self, generator: Generator) -> None:
        """Raises UserError for a head that predicts no vectors."""
        require_regression(generator.head, type(self).__name__)

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """Every position of the noisy copy predicts what the noise process asks for."""
        require_regression(generator.head, type(self).__name__)
        row = self.row(generator, tokens.grid, draws)
        tokens = tokens if row.order is None else tokens.reorder(row.order)
        data, real = tokens.values, real_positions(tokens.values, tokens.lengths)
        level = row.spread(self.process.levels(draws.uniform("noise_level", row.count)))[..., None]
        noise = draws.normal("noise", *data.shape[1:])
        noised = self.process.corrupt(data.double(), noise, level).to(data.dtype)
        context = data
        if self.history == "complete" and self.context_noise:
            share = self.context_noise * row.spread(draws.uniform("context_noise", row.count))[..., None]
            context = self._noised(data, share, draws.normal("context", *data.shape[1:]))
        values, layout = self.training_row(row, context, noised, tokens.lengths)
        levels = level[..., 0]
        levels = torch.cat([levels.new_zeros(len(levels), values.shape[1] - levels.shape[1]), levels], dim=1)
        targets = self.process.target(data.double(), noise, level).to(data.dtype)
        return Corrupted(values, None, layout, self.mask, targets, real.double() / real.sum(1, keepdim=True), levels)

    def context_from(self, generator: Generator, tokens: Tensor, noise: float, block: int, draws: Draws) -> Context:
        """Noised; a generator that was trained on noisy histories is told so."""
        level = noise if self.history == "corrupted" else None
        if not noise:
            return Context(tokens, level=level)
        drawn = draws.normal(f"block/{block}/context", *tokens.shape[1:])
        return Context(self._noised(tokens, torch.full_like(drawn[..., :1], noise), drawn), level=level)

    def _noised(self, data: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        return self.process.corrupt(data.double(), noise, level).to(data.dtype)

    def loss(self, generator: Generator, row: Corrupted, condition: Conditioning) -> Tensor:
        """Mean squared error (B,) over tokens and channels."""
        head = require_regression(generator.head, type(self).__name__)
        errors = head.errors(self.features(generator, row, condition), row.targets)
        return (row.weights.to(errors.dtype) * errors).sum(1)

    def fill(
        self, passes: Passes, canvas: Canvas, here: slice, block: int, request: Request, options: SampleOptions
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Denoise the block; known tokens are noised to the level of each step, and themselves in the end."""
        require_regression(passes.model.generator.head, type(self).__name__)
        known, values = canvas.committed[:, here].clone(), canvas.tokens[:, here].clone()
        if bool(known.all()):
            return
        steps = options.steps or self.steps
        solver = self.process.solver(steps)
        noise = request.draws.normal(f"block/{block}/noise", *values.shape[1:]).to(values.dtype)
        x = noise * options.decoding.temperature
        for index, level in enumerate(solver.levels):
            x = where(known, self.process.corrupt(values, noise, torch.as_tensor(level, dtype=values.dtype)), x)
            x = solver.step(passes.predict(x, level=level).to(values.dtype), index, x)
            last = index + 1 == len(solver.levels)
            yield where(known, values, x), torch.ones_like(known) if last else known
