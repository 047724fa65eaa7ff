"""A cache for what is derived from shapes: layouts, masks, position tables, the checks on them."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch

Function = TypeVar("Function", bound=Callable)


def remember(maxsize: int) -> Callable[[Function], Function]:
    """`lru_cache` whose results serve training also where they were first made while sampling in inference mode.

    Args:
        maxsize: results to keep; the least recently used one goes first.
    """

    def wrap(function: Function) -> Function:
        return lru_cache(maxsize=maxsize)(torch.inference_mode(False)(function))  # type: ignore[return-value]

    return wrap
