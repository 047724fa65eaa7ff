"""The loss of held-out samples, always with the same corruption, so that figures of different runs can be compared."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens
from mmgen.data.conditions import batch_conditions
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
    condition = generator.conditions(batch_conditions(generator, batch), len(batch["sample"]))
    draws = Draws(VALIDATION_SEED, batch["sample"])
    losses = paradigm.losses(generator, counted_tokens(paradigm, batch), condition, draws)
    return torch.cat(list(losses.values()))


def counted_tokens(paradigm: Paradigm, batch: dict[str, Any]) -> Tokens:
    """The tokens in a batch; without their lengths for a paradigm that models the silence behind a row's end like all
    else.
    """
    tokens: Tokens = batch["tokens"]
    return tokens if paradigm.ends else replace(tokens, lengths=None)
