"""Held-out samples as a generator is trained on them, and what it makes of the same classes and texts."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.data import DataModule
from mmgen.data.conditions import batch_conditions
from mmgen.data.held_out import held_out_clips
from mmgen.data.sources import Batch, to_device
from mmgen.paradigms import Request, SampleOptions, SpanInfill, State
from mmgen.training.generator_module import GeneratorModule


def held_out_batch(module: GeneratorModule, data: DataModule, count: int) -> Batch:
    """So many held-out samples of the module's data with their `tokens`, on the module's device."""
    batch = to_device(held_out_clips(data.samples("val"), count), module.device)
    return data.on_after_batch_transfer(batch, 0)


def sample_held_out(
    module: GeneratorModule, batch: Batch, options: SampleOptions, lengths: Tensor | None = None
) -> Iterator[tuple[str, State]]:
    """Every mode's name and the last state of its sampler, told the classes and texts of a batch; always of the same
    draws. `SpanInfill` fills in the middle third of each row instead.

    Args:
        module: the generator.
        batch: of `held_out_batch`.
        options: of sampling.
        lengths: (B,) int64 tokens to make of each row; by default whole rows, or until they end by themselves.
    """
    for mode, states in _samplers(module, batch, options, lengths):
        *_, last = states
        yield mode, last


@torch.no_grad()
def begin_held_out(module: GeneratorModule, batch: Batch, options: SampleOptions) -> None:
    """The first step of what `sample_held_out` does, in every mode. Raises UserError for options that do not fit."""
    trained = [each for each in module.modules() if each.training]
    module.eval()
    for mode, states in _samplers(module, batch, options):
        try:
            next(states)
        except UserError as error:
            raise UserError(f"mode {mode}: {error}") from None
    for each in trained:
        each.training = True


def _samplers(
    module: GeneratorModule, batch: Batch, options: SampleOptions, lengths: Tensor | None = None
) -> Iterator[tuple[str, Iterator[State]]]:
    generator, tokens = module.generator, batch["tokens"]
    number = torch.arange(len(tokens), device=module.device)
    request = Request(Draws(0, number), lengths, grid=tokens.grid, conditions=batch_conditions(generator, batch))
    for mode, paradigm in module.paradigm.modes().items():
        filling = (
            replace(request, known=tokens.values, keep=_outer(tokens)) if isinstance(paradigm, SpanInfill) else request
        )
        yield mode, iter(paradigm.sample(generator, filling, options))


def _outer(tokens: Tokens) -> Tensor:
    """(B, N) bool: all but the middle third of each row."""
    rows, count = tokens.values.shape[:2]
    place = torch.arange(count, device=tokens.values.device)
    lengths = torch.full((rows, 1), count, device=place.device) if tokens.lengths is None else tokens.lengths[:, None]
    return (place < lengths // 3) | (place >= 2 * lengths // 3)
