"""The loss of held-out samples, always with the same corruption, so that figures of different runs can be compared."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm

VALIDATION_SEED = 0
"""Of the corruption of held-out samples, whatever the seed of a run."""


def validation_losses(generator: Generator, paradigm: Paradigm, batch: dict[str, Any]) -> Tensor:
    """Each sample's loss in one mode: (B,) nats per token.

    Args:
        generator: the module, on the batch's device.
        paradigm: one of the generator's modes.
        batch: held-out samples with their `tokens`, as a data module brings them.
    """
    condition = generator.conditioning(*conditions(generator, batch))
    draws = Draws(VALIDATION_SEED, batch["sample"])
    losses = paradigm.losses(generator, counted_tokens(paradigm, batch), condition, draws)
    return torch.cat(list(losses.values()))


def conditions(generator: Generator, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """What a generator is told of the samples of a batch: classes, actions, texts; None for what it does not take."""
    actions = batch["action"] if generator.actions else None
    return batch["label"], actions, None if generator.text is None else batch["text"]


def counted_tokens(paradigm: Paradigm, batch: dict[str, Any]) -> Tokens:
    """The tokens in a batch; without their lengths for a paradigm that models the silence behind a row's end like all
    else.
    """
    tokens: Tokens = batch["tokens"]
    return tokens if paradigm.ends else replace(tokens, lengths=None)
