"""Global state of torch, lent for a while: the generator, and the number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's global generator starts from `seed` inside, and is as it was before afterwards.

    For `torch.nn`'s initialisation and torchmetrics' subsets, which take no generator; what mmgen itself draws is keyed
    (`mmgen.core.draws`).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            seed
        )  # torch.manual_seed would reseed the GPUs too, which are not forked here
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads inside, so that sums are taken in the same order whatever the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
