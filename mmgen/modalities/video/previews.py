"""Held-out clips, and what a run makes of them: a tokenizer of all their frames, a generator of the first ones."""

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data import DataModule
from mmgen.data.conditions import batch_conditions
from mmgen.data.held_out import held_out_clips
from mmgen.media.images import comfortable, enlarge
from mmgen.media.video import contact_sheet, tile_clips
from mmgen.modalities.video.sample_files import FPS
from mmgen.modalities.video.sampling import begin_with
from mmgen.paradigms import Request, SampleOptions
from mmgen.sampling.preview import Preview
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.held_out import held_out_batch
from mmgen.training.tokenizer_module import TokenizerModule


def pair_preview(name: str, truth: Tensor, made: Tensor, fps: float | None) -> Preview:
    """Clips (B, C, T, H, W) in [-1, 1], each above what was made of it; in motion they stand side by side."""
    pairs = rearrange(torch.stack([truth, made], 1).float().cpu(), "b two ... -> (b two) ...")
    pairs = enlarge(pairs, comfortable(pairs, 56))
    return Preview(name, pictures=[contact_sheet(pairs)], clip=tile_clips(pairs, columns=2), fps=fps or FPS)


def reconstruction_preview(module: TokenizerModule, data: DataModule, count: int) -> Preview:
    """Held-out clips, each above its reconstruction."""
    truth = held_out_clips(data.samples("val"), count)["x"].to(module.device)
    made = module.tokenizer.decode(module.tokenizer.encode(truth))
    return pair_preview("reconstruction", truth, made, data.source.fps)


def sample_previews(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[Preview]:
    """Of every mode held-out clips, each above a clip with the same first third of the latents, the same class and the
    same actions; always of the same draws. Arguments as for `mmgen.core.modality.Modality.sample_previews`.
    """
    generator, spec = module.generator, module.generator.spec
    batch = held_out_batch(module, data, count)
    values = batch["tokens"].values
    truth = batch["x"] if "x" in batch else _decode(tokenizer, values, spec)
    frames, height, width = spec.grid
    known, keep = begin_with(values[:, : frames // 3 * height * width], spec)
    draws, conditions = Draws(0, torch.arange(count, device=module.device)), batch_conditions(generator, batch)
    request = Request(draws, known=known, keep=keep.expand(count, -1), grid=spec.grid, conditions=conditions)
    for mode, paradigm in module.paradigm.modes().items():
        *_, last = paradigm.sample(generator, request, options)
        yield pair_preview(mode, truth, _decode(tokenizer, last.tokens, spec), data.source.fps)


def _decode(tokenizer: Tokenizer, values: Tensor, spec: TokenSpec) -> Tensor:
    """Clips of the spec's length, which need not be that of the clips the tokenizer was trained on."""
    return tokenizer.streaming().decode(Tokens(values, spec.grid), spec.frames(spec.grid[0]))
