"""Held-out clips, and what a run makes of them: a tokenizer of all their frames, a generator of the first ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data import DataModule
from mmgen.data.conditions import batch_conditions
from mmgen.data.held_out import held_out_clips
from mmgen.data.sources import to_device
from mmgen.media.images import comfortable, enlarge
from mmgen.media.video import contact_sheet, tile_clips
from mmgen.modalities.video.sampling import begin_with
from mmgen.paradigms import Request, SampleOptions
from mmgen.sampling.preview import Preview
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.tokenizer_module import TokenizerModule


@dataclass(frozen=True, eq=False)
class ClipPairs:
    """Held-out clips and what was made of them.

    Args:
        name: mode, or `reconstruction`.
        truth: (B, C, T, H, W) in [-1, 1].
        made: likewise.
        fps: frames a second, if that is known.
    """

    name: str
    truth: Tensor
    made: Tensor
    fps: float | None

    def preview(self) -> Preview:
        """Each clip above what was made of it; in motion they stand side by side."""
        pairs = rearrange(torch.stack([self.truth, self.made], 1).float().cpu(), "b two ... -> (b two) ...")
        pairs = enlarge(pairs, comfortable(pairs, 56))
        clip = tile_clips(pairs, columns=2)
        return Preview(self.name, pictures=[contact_sheet(pairs)], clip=clip, fps=self.fps or 8.0)


def clip_reconstruction(module: TokenizerModule, data: DataModule, count: int) -> ClipPairs:
    """Held-out clips, each above its reconstruction."""
    truth = held_out_clips(data.samples("val"), count)["x"].to(module.device)
    return ClipPairs("reconstruction", truth, module.tokenizer.decode(module.tokenizer.encode(truth)), data.source.fps)


def clip_samples(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[ClipPairs]:
    """Of every mode held-out clips, each above a clip with the same first third of the latents, the same class and the
    same actions; always of the same draws.

    Args:
        module: the generator.
        data: which it is trained on: raw clips or tokens.
        tokenizer: on the module's device.
        count: B.
        options: of sampling.
    """
    generator, spec = module.generator, module.generator.spec
    batch = to_device(held_out_clips(data.samples("val"), count), module.device)
    batch = data.on_after_batch_transfer(batch, 0)
    tokens: Tokens = batch["tokens"]
    truth = batch["x"] if "x" in batch else _decode(tokenizer, tokens.values, spec)
    number = torch.arange(count, device=module.device)
    request = Request(Draws(0, number), grid=spec.grid, conditions=batch_conditions(generator, batch))
    frames, height, width = spec.grid
    given = frames // 3
    first = Tokens(tokens.values[:, : given * height * width], (given, height, width))
    for mode, paradigm in module.paradigm.modes().items():
        *_, last = paradigm.sample(generator, begin_with(request, first, spec), options)
        yield ClipPairs(mode, truth, _decode(tokenizer, last.tokens, spec), data.source.fps)


def _decode(tokenizer: Tokenizer, values: Tensor, spec: TokenSpec) -> Tensor:
    """Clips of the spec's length, which need not be that of the clips the tokenizer was trained on."""
    return tokenizer.streaming().decode(Tokens(values, spec.grid), spec.frames(spec.grid[0]))
