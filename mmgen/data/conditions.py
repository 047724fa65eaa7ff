"""The conditions of a batch of data, as a generator takes them."""

from typing import Any

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.model.generator import Generator

_KEYS = {"class": "label", "actions": "action"}
"""Condition -> its key in a batch, where that is not its name."""


def batch_conditions(generator: Generator, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Name -> values (B, ...) of all that a generator takes, on its device, from a batch of samples: numbers, or a text
    each. Raises UserError where the data has no such condition.
    """
    values = {}
    for name, condition in generator.conditions.items():
        key = _KEYS.get(name, name)
        if key not in batch:
            raise UserError(f"the generator takes {name}, and this data brings none")
        value = batch[key]
        values[name] = (value if isinstance(value, Tensor) else condition.encode(value)).to(generator.device)
    return values
