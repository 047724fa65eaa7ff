"""Splits: partitions of a grid, their limits, and what the drawn ones train on and sample in."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import chi2

from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout, raster_index
from mmgen.paradigms import (
    BlockDiffusion,
    ContinuousBlockDiffusion,
    Flow,
    Frames,
    RandomOrder,
    RandomUnits,
    Request,
    Runs,
    SampleOptions,
    Split,
    Subgrids,
    Tiles,
)
from mmgen.paradigms.splits import get_split
from mmgen.store.store import load_generator
from tests import tiny_runs
from tests.worlds import GRID, SPECS, condition_of, draws, generator, tokens_for

CLIP = (2, 5, 3)
SPLITS: dict[str, Split] = {
    "runs": Runs(7),
    "frames": Frames(),
    "tiles": Tiles(2),
    "scales": Subgrids(3),
    "order": RandomOrder(7),
    "whole": RandomOrder(None),
    "units": RandomUnits(0.8, 4),
}
splits = pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)


@splits
def test_a_split_is_a_partition_in_ascending_units(split: Split) -> None:
    for each in (split, split.for_sampling()):
        layout = each.layout(CLIP, draws(5)).expand(5)
        index = raster_index(layout, CLIP)
        assert torch.equal(index.sort(1).values, torch.arange(30).expand(5, -1))
        assert torch.equal(layout.rank, torch.arange(30).expand(5, -1)) and torch.equal(layout.frame, index // 15)
        step = layout.block.diff(dim=1)
        assert (layout.block[:, 0] == 0).all() and ((step == 0) | (step == 1)).all()
        assert not each.is_raster or torch.equal(index[0], torch.arange(30))
        if not each.draws_sizes:
            assert (layout.block == layout.block[0]).all()


def test_scales_halve_the_distance() -> None:
    layout = Subgrids(2).layout((1, 3, 4), draws(1))
    assert raster_index(layout, (1, 3, 4)).tolist() == [0, 2, 8, 10, 1, 3, 4, 5, 6, 7, 9, 11]
    assert layout.block[0].tolist() == [0] * 4 + [1] * 8


def test_random_units_follow_their_law_and_a_samples_draw_is_its_own() -> None:
    count, length, decay = 6000, 5, 0.6
    layout = RandomUnits(decay).layout((1, 1, length), draws(count))
    actual = layout.block[:, -1].bincount(minlength=length).double()
    expected = decay ** torch.arange(length).double()
    expected = expected / expected.sum() * count
    assert float(((actual - expected) ** 2 / expected).sum()) < chi2.ppf(1 - 1e-4, length - 1)
    two = layout.block[layout.block[:, -1] == 1]  # one cut, anywhere alike
    cuts = (two == 0).sum(1).bincount(minlength=length)[1:].double()
    assert float(((cuts - cuts.mean()) ** 2 / cuts.mean()).sum()) < chi2.ppf(1 - 1e-4, length - 2)
    some = RandomUnits(decay).layout((1, 1, length), draws(count).rows(torch.tensor([7, 3])))
    assert torch.equal(some.block, layout.block[[7, 3]]) and torch.equal(some.position, layout.position[[7, 3]])


@pytest.mark.parametrize("split", [RandomOrder(None), RandomUnits(1e-9), Tiles(3)], ids=["order", "units", "tile"])
def test_one_unit_is_diffusion_of_the_whole_grid(split: Split) -> None:
    """Every hidden token then sees all visible ones, in whatever order they stand: the loss is that of one block."""
    model, x = generator(), tokens_for(BlockDiffusion(9))
    row = BlockDiffusion(split).corrupt(x, model, draws(4))
    assert (row.layout.block[..., -9:] == 0).all() and (row.weights > 0).any(1).all()
    sees = row.mask.dense(row.layout, row.layout).expand(4, 1, -1, -1)
    assert sees[..., -9:, -9:].all() and not sees[..., -9:, 1:-9].any()


def test_an_order_that_happens_to_be_raster_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    split = RandomOrder(2)
    monkeypatch.setattr("mmgen.paradigms.splits._random_order", lambda n, draws, _: torch.arange(n).expand(4, -1))
    model, x = generator(), tokens_for(BlockDiffusion(9))
    condition, losses = condition_of(model, torch.tensor([0, 1, 2, -1])), []
    for choice in (BlockDiffusion(split), BlockDiffusion(2)):
        losses.append(choice.losses(model, x, condition, draws(4))["block"])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("size", [1, 3])
def test_any_position_may_be_known_in_a_drawn_order(size: int) -> None:
    keep = torch.tensor([[0, 0, 1, 0, 0, 0, 1, 0, 1], [1] * 8 + [0], [0] * 9, [0] * 8 + [1]]).bool()
    for kind, make in (("bits", BlockDiffusion), ("continuous", lambda split: ContinuousBlockDiffusion(split, Flow()))):
        model = generator(SPECS[kind])
        known = tokens_for(make(1)).values
        request = Request(draws(4), known=known, keep=keep, conditions={"class": torch.tensor([0, 1, 2, -1])})
        with torch.inference_mode():
            *_, last = make(RandomOrder(size)).sample(model, request, SampleOptions(steps=2))
        assert torch.equal(last.tokens[keep], known[keep]) and last.committed.all()


def test_a_bound_is_that_of_the_sampled_units() -> None:
    model, x = generator(), tokens_for(BlockDiffusion(9))
    condition = condition_of(model, torch.tensor([0, 1, 2, -1]))
    drawn, fixed = BlockDiffusion(RandomUnits(0.5, 3)), BlockDiffusion(RandomOrder(3))
    assert torch.equal(drawn.bound(model, x, condition, draws(4)), fixed.bound(model, x, condition, draws(4)))


@pytest.mark.parametrize("together", [1, 2])
def test_drawn_orders_go_with_corrupted_histories_and_several_blocks_at_a_time(together: int) -> None:
    """A block sees those before it in its own row's order; the law of each row alone holds there too."""
    model, labels = generator(SPECS["continuous"]), torch.tensor([0, 1, 2, -1])
    paradigm = ContinuousBlockDiffusion(RandomUnits(0.7, 2), Flow(), history="corrupted", steps=2)
    row = paradigm.corrupt(tokens_for(paradigm), model, draws(4))
    block = row.layout.block[:, -9:]
    sees = row.mask.dense(row.layout, row.layout)[:, 0, -9:, -9:]
    assert torch.equal(sees, block[:, None] <= block[:, :, None]) and row.layout.batch == 4
    options = SampleOptions(parallel_blocks=together)
    with torch.inference_mode():
        *_, batch = paradigm.sample(model, Request(draws(4), conditions={"class": labels}), options)
        *_, single = paradigm.sample(
            model, Request(draws(4).rows(torch.tensor([1])), conditions={"class": labels[1:2]}), options
        )
    torch.testing.assert_close(batch.tokens[1], single.tokens[0], rtol=1e-4, atol=1e-5)


def test_a_stored_run_names_its_split(tmp_path: Path) -> None:
    split = {"class_path": "mmgen.paradigms.RandomOrder", "init_args": {"size": 5}}
    paradigm = {"class_path": "mmgen.paradigms.BlockDiffusion", "init_args": {"split": split, "steps": 2}}
    loaded = load_generator(tiny_runs.generator_run(tmp_path / "run", None, paradigm=paradigm))
    assert isinstance(loaded.paradigm, BlockDiffusion) and isinstance(loaded.paradigm.split, RandomOrder)
    with torch.inference_mode():
        *_, last = loaded.paradigm.sample(
            loaded.generator, Request(draws(1), conditions={"class": torch.tensor([0])}), SampleOptions()
        )
    assert last.committed.all() and last.block == 3  # 16 positions in runs of 1, 5, 5 and 5


def test_short_spellings() -> None:
    assert isinstance(get_split("frame"), Frames) and get_split("frame") is get_split("frame")
    runs = get_split(4)
    assert isinstance(runs, Runs) and runs.size == 4 and get_split(runs) is runs
    assert torch.equal(runs.layout(GRID, draws(1)).block, grid_layout(GRID, 4).block)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_split(0), "split 0 must be at least 1"),
        (lambda: get_split("row"), "split 'row' must be"),  # type: ignore[arg-type]
        (lambda: Runs(10).layout(GRID, draws(1)), "split 10 must lie between 1 and the 9 positions"),
        (lambda: Tiles(4).layout(GRID, draws(1)), "do not fit"),
        (lambda: Subgrids(9).layout(GRID, draws(1)), "too many"),
        (lambda: RandomUnits(0.0), r"decay 0.0 must lie in \(0, 1\]"),
        (lambda: RandomOrder(0), "size 0 must be at least 1"),
    ],
)
def test_what_fits_no_grid_is_refused(make, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
    assert math.prod(GRID) == 9
