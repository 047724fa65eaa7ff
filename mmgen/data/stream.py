"""The order of samples, a pure function of (seed, epoch), and the slice of it that one process trains on.

Training reads one infinite stream: global position p is sample `order(epoch)[p % samples]` of epoch `p // samples`.
Neither the number of processes nor that of accumulated batches enters, so a run goes on exactly where it stopped, on
other hardware too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.data import Sampler

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError

Slot = tuple[int, int]
"""(epoch, index in the split): what the stream holds at one position."""


@lru_cache(maxsize=2)  # a batch may straddle two epochs
def _order(samples: int, seed: int, epoch: int) -> Tensor:
    keys = Draws(seed, torch.arange(samples), epoch).uniform("order")
    return keys.argsort(stable=True)  # stable: equal keys cannot make two machines disagree


@dataclass(frozen=True)
class Stream:
    """The infinite order of a split's samples.

    Args:
        samples: size of the split.
        seed: keys every epoch's permutation.
    """

    samples: int
    seed: int

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UserError("the train split is empty: there is nothing to train on")

    def order(self, epoch: int) -> Tensor:
        """(samples,) int64, the permutation of one epoch."""
        return _order(self.samples, self.seed, epoch)

    def slots(self, first: int, count: int) -> list[Slot]:
        """What lies at the global positions first .. first + count - 1."""
        places = (divmod(position, self.samples) for position in range(first, first + count))
        return [(epoch, int(self.order(epoch)[place])) for epoch, place in places]


@dataclass(frozen=True)
class ShardStream(Stream):
    """Shards in random order; of so many that follow one another, all samples are shuffled together.

    So few shards are read at a time, from one end to the other, and neighbours still come from many places.

    Args:
        samples: size of the split.
        seed: keys every epoch's order.
        counts: samples of each shard.
        window: shards whose samples are shuffled together.
    """

    counts: tuple[int, ...] = ()
    window: int = 16

    def order(self, epoch: int) -> Tensor:
        return _shard_order(self, epoch)


@lru_cache(maxsize=2)
def _shard_order(stream: ShardStream, epoch: int) -> Tensor:
    shards = Draws(stream.seed, torch.arange(len(stream.counts)), epoch).uniform("shards").argsort(stable=True)
    turn = shards.argsort() // stream.window  # of each shard, the window in which it is read
    order = _order(stream.samples, stream.seed, epoch)
    windows = turn.repeat_interleave(torch.tensor(stream.counts))
    return order[windows[order].argsort(stable=True)]


@dataclass(frozen=True)
class Split:
    """How a global batch falls to processes and accumulated batches.

    Args:
        size: samples behind one optimiser step, over all processes.
        ranks: number of processes that train on different samples.
        accumulate: batches whose gradients one step accumulates.

    Raises:
        UserError: `size` is no multiple of `ranks * accumulate`.
    """

    size: int
    ranks: int = 1
    accumulate: int = 1

    def __post_init__(self) -> None:
        parts = self.ranks * self.accumulate
        if self.size < 1 or self.size % parts:
            raise UserError(
                f"data.global_batch_size {self.size} does not divide into {self.ranks} device(s) x {self.accumulate}"
                f" accumulated batch(es); take a multiple of {parts}, such as {max(1, self.size // parts) * parts}"
            )

    @property
    def per_device(self) -> int:
        """Samples that one process takes at once."""
        return self.size // (self.ranks * self.accumulate)

    def __str__(self) -> str:
        parts = f"{self.per_device} per device x {self.ranks} device(s) x {self.accumulate} accumulated"
        return f"global batch {self.size} = {parts}"


class RankBatches(Sampler[list[Slot]]):
    """The endless batches of one process. A global batch lies in the stream as (accumulated batch, rank, sample).

    Args:
        stream: the order of samples.
        split: how a global batch is cut.
        rank: this process.
        start: gives the first position whenever iteration begins.
        now: gives the cut that is in force, which must stay the same; by default nothing is asked.

    Raises:
        UserError: while iterating, the cut has changed, so that the position would be lost.
    """

    def __init__(
        self,
        stream: Stream,
        split: Split,
        rank: int,
        start: Callable[[], int],
        now: Callable[[], Split] | None = None,
    ) -> None:
        self.stream, self.split, self.rank, self.start = stream, split, rank, start
        self.now = now

    def __iter__(self) -> Iterator[list[Slot]]:
        split = self.split
        position = self.start()
        while True:
            if self.now is not None and (changed := self.now()) != split:
                raise UserError(
                    f"{split} became {changed} while training, by which the place in the data is lost: leave out the"
                    " callback that changes it, and set trainer.accumulate_grad_batches"
                )
            for step in range(split.accumulate):
                first = position + (step * split.ranks + self.rank) * split.per_device
                yield self.stream.slots(first, split.per_device)
            position += split.size


def shares(samples: int, batch: int, rank: int, ranks: int) -> list[list[Slot]]:
    """One process's batches of a pass over a whole split in order: every sample exactly once over all processes.

    All processes get equally many batches (unequal numbers hang where a forward pass is a collective), so a remainder
    of fewer samples than processes joins the last batch.

    Args:
        samples: size of the split.
        batch: samples that one process takes at once.
        rank: this process.
        ranks: number of processes.

    Raises:
        UserError: fewer samples than processes.
    """
    if samples < ranks:
        raise UserError(f"{samples} validation sample(s) cannot be shared by {ranks} devices; use fewer devices")
    together = batch * ranks
    count = max(1, samples // together + (samples % together >= ranks))
    ends = [together * (number + 1) for number in range(count - 1)] + [samples]
    return [[(0, index) for index in range(end_before + rank, end, ranks)] for end_before, end in zip([0, *ends], ends)]
