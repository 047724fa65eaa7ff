"""The conditions of a batch of data, as a generator takes them."""

from typing import Any

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.model.generator import Generator

_KEYS = {"class": "label", "actions": "action"}
"""Condition -> its key in a batch, where that is not its name."""


def batch_conditions(generator: Generator, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Name -> values (B, ...) of all that a generator takes, on its device.

    Args:
        generator: whose conditions they are.
        batch: of samples, as a data module or a source brings them: numbers, or a text for each sample.

    Raises:
        UserError: the data has no such condition.
    """
    values = {}
    for name, condition in generator.conditions.items():
        key = _KEYS.get(name, name)
        if key not in batch:
            raise UserError(f"the generator takes {name}, and this data brings none")
        given = batch[key]
        values[name] = (given if isinstance(given, Tensor) else condition.encode(given)).to(generator.device)
    return values
