"""Images on previews in training: reconstructions below their originals, and samples of all classes in turn."""

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens
from mmgen.data import DataModule
from mmgen.data.conditions import batch_conditions
from mmgen.media.images import comfortable, enlarge, grid
from mmgen.paradigms import Request, SampleOptions
from mmgen.sampling.preview import Preview
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.tokenizer_module import TokenizerModule


def reconstruction_preview(module: TokenizerModule, data: DataModule, count: int) -> Preview:
    """Rows of held-out images, each above the row of their reconstructions."""
    held_out = data.samples("val")
    count = min(count, len(held_out))
    spread = torch.linspace(0, len(held_out) - 1, count).long()  # data may be ordered by class
    x = held_out.take(spread)["x"].to(module.device)
    made = module.tokenizer.decode(module.tokenizer.encode(x))
    columns = min(10, count)
    pad = torch.zeros_like(x[: -count % columns])
    rows = [rearrange(torch.cat([each, pad]), "(r c) ... -> r c ...", c=columns) for each in (x, made)]
    return Preview(
        "reconstruction", pictures=[_grid(rearrange(torch.stack(rows, 1), "r two c ... -> (r two c) ..."), columns)]
    )


def sample_previews(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[Preview]:
    """Of every mode a grid of samples, always of the same draws."""
    number = torch.arange(count, device=module.device)
    conditions = _conditions(module, data, number)
    for mode, paradigm in module.paradigm.modes().items():
        *_, last = paradigm.sample(module.generator, Request(Draws(0, number), conditions=conditions), options)
        yield Preview(mode, pictures=[_grid(tokenizer.decode(Tokens(last.tokens, tokenizer.spec.grid)))])


def _conditions(module: GeneratorModule, data: DataModule, number: Tensor) -> dict[str, Tensor]:
    """All classes in turn, or whatever else held-out samples come with."""
    generator = module.generator
    if set(generator.conditions) <= {"class"}:
        return {name: number % len(generator.names(name)) for name in generator.conditions}
    held_out = data.samples("val")
    spread = torch.linspace(0, len(held_out) - 1, min(len(number), len(held_out))).long()
    values = batch_conditions(generator, held_out.take(spread))
    return {name: each[number % len(each)] for name, each in values.items()}


def _grid(images: Tensor, columns: int = 10) -> Tensor:
    return grid(enlarge(images.float().cpu(), comfortable(images, 56)), columns)
