"""The order of samples: a pure function of seed and epoch, of which every process trains on its own slice."""

from itertools import islice

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.stream import RankBatches, Split, Stream, shares

SPLITS = [(1, 1), (1, 3), (2, 1), (2, 3), (4, 1), (3, 4), (12, 1)]
SIZE = 12


def batches(split, rank, start=0, count=6, samples=50):
    return list(islice(RankBatches(Stream(samples, seed=7), split, rank, lambda: start), count * split.accumulate))


def together(split, start=0, count=6):
    """What all processes train on, in the order of the stream."""
    by_rank = [batches(split, rank, start, count) for rank in range(split.ranks)]
    return [slot for step in zip(*by_rank, strict=True) for batch in step for slot in batch]


@pytest.mark.parametrize("samples", [1, 2, 50, 4001])
def test_an_epoch_is_a_permutation(samples):
    stream = Stream(samples, seed=3)
    for epoch in range(3):
        assert stream.order(epoch).sort().values.equal(torch.arange(samples))
        first = epoch * samples
        assert stream.slots(first, samples) == [(epoch, index) for index in stream.order(epoch).tolist()]


def test_epochs_and_seeds_differ_and_repeat():
    orders = {(seed, epoch): tuple(Stream(50, seed).order(epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(set(orders.values())) == 16
    assert tuple(range(50)) not in orders.values()
    assert all(tuple(Stream(50, seed).order(epoch).tolist()) == order for (seed, epoch), order in orders.items())


def test_where_a_sample_comes_in_an_epoch_is_even():
    place = torch.stack([Stream(100, seed=0).order(epoch).argsort() for epoch in range(400)]).double()
    # The mean of 400 draws from 0 .. 99 has a standard deviation of 1.44.
    assert (place.mean(0) - 49.5).abs().max() < 5 * 1.44


@pytest.mark.parametrize(("ranks", "accumulate"), SPLITS)
def test_processes_and_accumulated_batches_partition_every_global_batch(ranks, accumulate):
    split = Split(SIZE, ranks, accumulate)
    expected = Stream(50, seed=7).slots(0, 6 * SIZE)  # crosses an epoch, in the middle of a batch
    assert together(split) == expected
    assert {len(batch) for batch in batches(split, ranks - 1)} == {split.per_device}


@pytest.mark.parametrize(("ranks", "accumulate"), SPLITS)
def test_a_resumed_stream_goes_on_under_any_split(ranks, accumulate):
    whole = together(Split(SIZE))
    for done in range(6):
        assert together(Split(SIZE, ranks, accumulate), start=done * SIZE, count=6 - done) == whole[done * SIZE :]


@pytest.mark.parametrize(("ranks", "accumulate"), [(5, 1), (1, 7), (3, 8)])
def test_a_global_batch_that_does_not_divide_is_refused(ranks, accumulate):
    with pytest.raises(UserError, match=f"global_batch_size {SIZE} does not divide .*multiple of {ranks * accumulate}"):
        Split(SIZE, ranks, accumulate)


@pytest.mark.parametrize("samples", [1, 5, 12, 13, 40, 97])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_a_pass_over_a_split_sees_each_sample_once_in_equally_many_batches(samples, ranks):
    if samples < ranks:
        with pytest.raises(UserError, match="cannot be shared"):
            shares(samples, 4, 0, ranks)
        return
    of_rank = [shares(samples, 4, rank, ranks) for rank in range(ranks)]
    assert len({len(share) for share in of_rank}) == 1
    assert all(0 < len(batch) <= 5 for share in of_rank for batch in share)
    assert sorted(slot for share in of_rank for batch in share for slot in batch) == [(0, i) for i in range(samples)]
    if ranks == 1:
        assert [slot for batch in of_rank[0] for slot in batch] == [(0, i) for i in range(samples)]
        assert all(len(batch) == 4 for batch in of_rank[0][:-1])
