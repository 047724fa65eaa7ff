"""The option of commands that take a run: which of its two checkpoints."""

from collections.abc import Callable
from typing import Literal, TypeVar

CheckpointName = Literal["last", "best"]

Command = TypeVar("Command", bound=Callable[..., None])

_ABOUT = """checkpoint: of a run, `last`, where training ended, or `best`, of its lowest held-out loss (of a joint run,
            the mean of its members'). An export has one only, and a generator's tokenizer is always its run's last, on
            whose tokens it was trained."""


def takes_checkpoint(run: Command) -> Command:
    """Describe a command's option `checkpoint`."""
    run.__doc__ = f"{(run.__doc__ or '').rstrip()}\n        {_ABOUT}\n    "
    return run
