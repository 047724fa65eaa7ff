"""The global generator, lent to libraries that draw from nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's global generator starts from `seed` inside, and is as it was before afterwards.

    For `torch.nn`'s initialisation and torchmetrics' subsets, which take no generator; what mmgen itself draws is keyed
    (`mmgen.draws`).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            seed
        )  # torch.manual_seed would reseed the GPUs too, which are not forked here
        yield
