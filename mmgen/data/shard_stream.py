"""An order of samples that goes from shard to shard, and is as much a pure function of (seed, epoch) as any."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.data.stream import Stream


@dataclass(frozen=True)
class ShardStream(Stream):
    """Shards in random order; of so many that follow one another, all samples are shuffled together.

    So few shards are read at a time, from one end to the other, and neighbours still come from many places.
    Which process reads what follows from positions alone (`mmgen.data.stream`), so that a run goes on exactly, with any
    number of processes and workers.

    Args:
        samples: size of the split.
        seed: keys every epoch's order.
        counts: samples of each shard.
        window: shards whose samples are shuffled together.
    """

    counts: tuple[int, ...] = ()
    window: int = 16

    def order(self, epoch: int) -> Tensor:
        """(samples,) int64, the permutation of one epoch."""
        return _order(self, epoch)


@lru_cache(maxsize=2)
def _order(stream: ShardStream, epoch: int) -> Tensor:
    shards = Draws(stream.seed, torch.arange(len(stream.counts)), epoch).uniform("shards").argsort(stable=True)
    turn = shards.argsort() // stream.window  # of each shard, the window in which it is read
    keys = Draws(stream.seed, torch.arange(stream.samples), epoch).uniform("order")
    # Sorted by key first, then stably by window.
    first = keys.argsort(stable=True)
    windows = turn.repeat_interleave(torch.tensor(stream.counts))
    return first[windows[first].argsort(stable=True)]
