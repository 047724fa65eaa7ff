"""Blockwise diffusion of continuous tokens: ACDiT (Hu et al. 2024), from diffusion transformer (one block) to
token-wise autoregression (blocks of one token).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.conditioning import Condition
from mmgen.draws import Draws
from mmgen.generator import Generator
from mmgen.heads import continuous
from mmgen.layout import pad
from mmgen.paradigms.base import Canvas, Corrupted, Request, SampleOptions, real_positions, where
from mmgen.paradigms.blocks import Blockwise, Passes
from mmgen.paradigms.noise import NoiseProcess
from mmgen.tokens import Tokens


class ContinuousBlockDiffusion(Blockwise):
    """Each block is denoised given the finished blocks, whose keys and values are cached. Training reads a clean and a
    noisy copy in one skip-causal row, with a noise level for each block that modulates the noisy copy alone.

    The loss is the squared error of what the noise process asks for, a mean over tokens and channels. For velocities of
    tokens of unit variance it starts near 2, for epsilon and x0 near 1.

    Args:
        block_size: tokens a block, from 1 to the whole grid; a smaller remainder comes first.
        process: how blocks are noised, and what the denoiser predicts of them.
        tiles: blocks are square tiles of sqrt(block_size) tokens a side (ACDiT) instead of runs in raster order.
        mask: who may see whom; one that shows a noisy block its own clean copy, or a later one, is refused.
        steps: sampling steps a block where none are asked for.
    """

    drafts = True

    def __init__(
        self,
        block_size: int,
        process: NoiseProcess,
        tiles: bool = False,
        mask: str = "skip_causal",
        steps: int = 25,
    ) -> None:
        super().__init__(block_size, tiles, mask, steps)
        self.process = process

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The row is the prefix, the clean tokens but for the last block, which nobody reads, and the noisy copy of
        all; every position of the copy predicts what the noise process asks for.
        """
        continuous(generator.head, type(self).__name__)
        row = self.row(generator, tokens.grid, tokens.values.device)
        tokens = tokens if row.order is None else tokens.reorder(row.order)
        data, real = tokens.values, real_positions(tokens.values, tokens.lengths)
        level = self.process.levels(draws.uniform("noise_level", row.count))[:, row.unit, None]
        noise = draws.normal("noise", *data.shape[1:])
        noised = self.process.corrupt(data.double(), noise, level).to(data.dtype)
        layout = row.prefix + pad(row.clean.slice(0, row.read), tokens.lengths) + pad(row.noisy, tokens.lengths)
        values = torch.cat([data[:, : row.read], noised], dim=1)
        levels = torch.cat([torch.zeros_like(level[:, : row.read, 0]), level[..., 0]], dim=1)
        targets = self.process.target(data.double(), noise, level).to(data.dtype)
        return Corrupted(values, None, layout, self.mask, targets, real.double() / real.sum(1, keepdim=True), levels)

    def loss(self, generator: Generator, row: Corrupted, condition: Condition) -> Tensor:
        """Mean squared error (B,) over tokens and channels."""
        head, outputs = continuous(generator.head, type(self).__name__), row.targets.shape[1]
        features = generator(row.values, row.layout, row.mask, condition, outputs=outputs, levels=row.levels)
        errors = head.errors(features, row.targets)
        return (row.weights.to(errors.dtype) * errors).sum(1)

    def fill(
        self, passes: Passes, canvas: Canvas, here: slice, block: int, request: Request, options: SampleOptions
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Denoise the block; kept tokens are noised to the level of each step, and themselves in the end."""
        continuous(passes.model.generator.head, type(self).__name__)
        kept, given = canvas.committed[:, here].clone(), canvas.tokens[:, here].clone()
        if bool(kept.all()):
            return
        steps = options.steps or self.steps
        solver = self.process.solver(steps)
        noise = request.draws.normal(f"block/{block}/noise", *given.shape[1:]).to(given.dtype)
        x = noise * options.decoding.temperature
        for index, level in enumerate(solver.levels):
            x = where(kept, self.process.corrupt(given, noise, torch.as_tensor(level, dtype=given.dtype)), x)
            x = solver.step(passes.predict(x, level=level).to(given.dtype), index, x)
            last = index + 1 == len(solver.levels)
            yield where(kept, given, x), torch.ones_like(kept) if last else kept
