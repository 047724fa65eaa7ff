"""A cache for what is derived from shapes: layouts, masks, position tables, the checks on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable)
_passing: ContextVar[bool] = ContextVar("passing", default=False)


def remember(maxsize: int) -> Callable[[Function], Function]:
    """`lru_cache` of so many results, which serve training even where they were made in inference mode."""

    def wrap(function: Function) -> Function:
        plain = torch.inference_mode(False)(function)
        cached = lru_cache(maxsize=maxsize)(plain)

        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            return (plain if _passing.get() else cached)(*args, **options)

        return call  # type: ignore[return-value]

    return wrap


@contextmanager
def passing() -> Iterator[None]:
    """Nothing is remembered in here: for layouts that never come again, such as those of a stream without end."""
    token = _passing.set(True)
    try:
        yield
    finally:
        _passing.reset(token)
