"""Held-out clips, and what a run makes of them: a tokenizer of all their frames, a generator of the first ones."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data import DataModule
from mmgen.data.held_out import held_out_clips
from mmgen.data.sources import Batch
from mmgen.modalities.video.sampling import begin_with
from mmgen.model.conditioning import NO_CLASS
from mmgen.paradigms import Request, SampleOptions
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.tokenizer_module import TokenizerModule


def clip_reconstruction(module: TokenizerModule, data: DataModule, count: int) -> tuple[Tensor, Tensor]:
    """Held-out clips (B, C, T, H, W) and their reconstructions."""
    truth = held_out_clips(data.samples("val"), count)["x"].to(module.device)
    return truth, module.tokenizer.decode(module.tokenizer.encode(truth))


def clip_samples(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Of every mode its name, held-out clips (B, C, T, H, W), and clips with the same first third of the latents, the
    same class and the same actions; always of the same draws.

    Args:
        module: the generator.
        data: which it is trained on: raw clips or tokens.
        tokenizer: on the module's device.
        count: B.
        options: of sampling.
    """
    generator, spec = module.generator, module.generator.spec
    batch: Batch = {key: value.to(module.device) for key, value in held_out_clips(data.samples("val"), count).items()}
    batch = data.on_after_batch_transfer(batch, 0)
    tokens: Tokens = batch["tokens"]
    truth = batch["x"] if "x" in batch else _decode(tokenizer, tokens.values, spec)
    number = torch.arange(count, device=module.device)
    request = Request(
        batch["label"] if generator.classes else torch.full_like(number, NO_CLASS),
        Draws(0, number),
        grid=spec.grid,
        actions=batch["action"] if generator.actions else None,
    )
    frames, height, width = spec.grid
    given = frames // 3
    first = Tokens(tokens.values[:, : given * height * width], (given, height, width))
    for mode, paradigm in module.paradigm.modes().items():
        *_, last = paradigm.sample(generator, begin_with(request, first, spec), options)
        yield mode, truth, _decode(tokenizer, last.tokens, spec)


def _decode(tokenizer: Tokenizer, values: Tensor, spec: TokenSpec) -> Tensor:
    """Clips of the spec's length, which need not be that of the clips the tokenizer was trained on."""
    return tokenizer.streaming().decode(Tokens(values, spec.grid), spec.frames(spec.grid[0]))
