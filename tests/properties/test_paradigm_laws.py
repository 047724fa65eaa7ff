"""Laws 4 and 7 for every paradigm: limits meet, and a sample's corruption is its own. Law 1 is in test_leaks.py."""

from dataclasses import replace

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.layout import clean, grid_layout, noisy, prefix
from mmgen.core.tokens import Tokens
from mmgen.paradigms import (
    DDPM,
    Autoregressive,
    BlockDiffusion,
    ContinuousBlockDiffusion,
    Flow,
    Masked,
    Mixture,
    NoiseProcess,
    Paradigm,
)
from mmgen.paradigms.codes import hide
from tests.worlds import GRID, PARADIGMS, condition_of, draws, generator, ragged, spec_for, tokens_for

LABELS = torch.tensor([0, 1, 2, -1])
LENGTHS = torch.tensor([9, 3, 7, 1])
CONTINUOUS = {name: each for name, each in PARADIGMS.items() if isinstance(each, ContinuousBlockDiffusion)}
paradigms = pytest.mark.parametrize("paradigm", PARADIGMS.values(), ids=PARADIGMS)


def tokens(seed: int = 0, lengths: torch.Tensor | None = None) -> Tokens:
    return tokens_for(PARADIGMS["ar"], seed=seed, lengths=lengths)


@pytest.mark.parametrize("paradigm", CONTINUOUS.values(), ids=CONTINUOUS)
def test_a_noisy_block_never_depends_on_clean_data_that_comes_later(paradigm: ContinuousBlockDiffusion) -> None:
    """Change the clean copy of a block: later noisy blocks change, and no bit of that one or an earlier one."""
    model, x = generator(spec_for(paradigm)), tokens_for(paradigm)
    row, condition = paradigm.corrupt(x, model, draws(4)), condition_of(model, LABELS)
    features = paradigm.features(model, row, condition)
    unit = row.layout.expand(4).block[:, -9:]
    for position in range(row.values.shape[1] - 9):
        changed = row.values.clone()
        changed[:, position] += 1
        after = paradigm.features(model, replace(row, values=changed), condition)
        assert torch.equal((after == features).all(-1), unit <= unit[:, position, None])


@paradigms
def test_padding_changes_nothing(paradigm: Paradigm) -> None:
    x = tokens_for(paradigm, lengths=LENGTHS)
    if not ragged(paradigm):
        model = generator(spec_for(paradigm))
        with pytest.raises(UserError, match="raster order only"):
            paradigm.losses(model, x, condition_of(model, LABELS), draws(4))
        return
    other = x.values.clone()
    for row, length in enumerate(LENGTHS):
        other[row, length:] = 15 - other[row, length:]
    model = generator(spec_for(paradigm))
    (before,) = paradigm.losses(model, x, condition_of(model, LABELS), draws(4)).values()
    (after,) = paradigm.losses(model, Tokens(other, GRID, LENGTHS), condition_of(model, LABELS), draws(4)).values()
    assert torch.equal(before, after)
    assert torch.isfinite(before).all()


@paradigms
def test_a_samples_loss_is_its_own(paradigm: Paradigm) -> None:
    """Law 7: the same sample meets the same corruption whatever batch it is in."""
    model, x = generator(spec_for(paradigm)), tokens_for(paradigm)
    (whole,) = paradigm.losses(model, x, condition_of(model, LABELS), draws(4)).values()
    for rows in ([0], [3, 1], [2, 0, 1]):
        index = torch.tensor(rows)
        (part,) = paradigm.losses(
            model, x.rows(index), condition_of(model, LABELS[index]), draws(4).rows(index)
        ).values()
        torch.testing.assert_close(part, whole[index], rtol=1e-10, atol=1e-12)


def test_one_block_is_masked_generation() -> None:
    """Law 4. An image is one frame, so frame_wise is bidirectional there, with a prefix that reads no tokens, as in
    the block row.
    """
    model, x = generator(), tokens()
    block = BlockDiffusion(9).losses(model, x, condition_of(model, LABELS), draws(4))["block"]
    masked = Masked(schedule="linear", mask="frame_wise").losses(model, x, condition_of(model, LABELS), draws(4))[
        "masked"
    ]
    torch.testing.assert_close(block, masked, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", range(1, 10))
@pytest.mark.parametrize("process", [Flow(), DDPM()], ids=["flow", "ddpm"])
def test_any_block_size_gives_each_block_alone(size: int, process: NoiseProcess) -> None:
    """Law 4, from token-wise autoregression to a diffusion transformer without a clean copy: every block's error from a
    short row of its own, clean blocks before it and itself.
    """
    paradigm = ContinuousBlockDiffusion(size, process)
    model, x = generator(spec_for(paradigm)), tokens_for(paradigm)
    layout, condition = grid_layout(GRID, size), condition_of(model, LABELS)
    blocks = int(layout.block.max()) + 1
    level, noise = process.levels(draws(4).uniform("noise_level", blocks)), draws(4).normal("noise", 9, 3)
    total = torch.zeros(4, dtype=torch.float64)
    for block in range(blocks):
        here = (layout.block[0] == block).nonzero()[:, 0]
        begin, end = int(here[0]), int(here[-1]) + 1
        t = level[:, block, None, None]
        noised = process.corrupt(x.values[:, here], noise[:, here], t)
        row = prefix(1) + clean(layout.slice(0, begin)) + noisy(layout.slice(begin, end))
        levels = torch.cat([torch.zeros(4, begin), t[..., 0].expand(-1, len(here))], dim=1)
        values = torch.cat([x.values[:, :begin], noised], dim=1)
        modulation = paradigm.modulation(model, levels)
        features = model(values, row, paradigm.mask, condition, outputs=len(here), modulation=modulation)
        error = model.head.predict(features) - process.target(x.values[:, here], noise[:, here], t)
        total += error.square().mean(-1).sum(1)
    torch.testing.assert_close(paradigm.losses(model, x, condition_of(model, LABELS), draws(4))["block"], total / 9)


@pytest.mark.parametrize("size", range(1, 10))
def test_any_block_size_predicts_hidden_tokens_from_earlier_blocks_and_the_rest_of_their_own(size: int) -> None:
    """Law 4 for discrete tokens, from the autoregressive likelihood on: every block from a short row of its own."""
    model, x, paradigm = generator(), tokens(), BlockDiffusion(size)
    layout, condition = grid_layout(GRID, size), condition_of(model, LABELS)
    row = paradigm.corrupt(x, model, draws(4))
    assert row.hidden is not None
    hidden, total = row.hidden[:, -9:], torch.zeros(4, dtype=torch.float64)
    for block in range(int(layout.block.max()) + 1):
        begin, end = (int(i) for i in (layout.block[0] == block).nonzero()[[0, -1], 0] + torch.tensor([0, 1]))
        short = prefix(1) + clean(layout.slice(0, begin)) + noisy(layout.slice(begin, end))
        seen = torch.cat([torch.zeros(4, begin, dtype=torch.bool), hidden[:, begin:end]], dim=1)
        features = model(x.values[:, :end], short, paradigm.mask, condition, seen, outputs=end - begin)
        nats = model.head.nats(features, x.values[:, begin:end])
        total += (row.weights[:, begin:end] * nats).sum(1)
    torch.testing.assert_close(paradigm.losses(model, x, condition_of(model, LABELS), draws(4))["block"], total)


@paradigms
def test_a_mixture_of_one_is_that_one(paradigm: Paradigm) -> None:
    model, x = generator(spec_for(paradigm)), tokens_for(paradigm)
    (single,) = paradigm.losses(model, x, condition_of(model, LABELS), draws(4)).values()
    assert torch.equal(
        Mixture({"only": paradigm}).losses(model, x, condition_of(model, LABELS), draws(4))["only"], single
    )


def test_a_mixture_gives_each_sample_to_one_member_by_its_weight() -> None:
    count = 600
    x = Tokens(torch.zeros(count, 9, dtype=torch.int64), GRID)
    mixture = Mixture({"ar": Autoregressive(), "masked": Masked()}, {"ar": 1.0, "masked": 3.0})
    with torch.no_grad():
        model = generator()
        losses = mixture.losses(model, x, condition_of(model, torch.zeros(count, dtype=torch.int64)), draws(count))
    assert len(losses["ar"]) + len(losses["masked"]) == count
    assert abs(len(losses["ar"]) / count - 0.25) < 0.06  # over three standard deviations


def test_hidden_counts_are_uniform_and_weights_sum_to_one_per_row() -> None:
    block, real = torch.tensor([0, 1, 1, 1, 1, 2, 2, 2, 2]), torch.ones(4000, 9, dtype=torch.bool)
    hidden, weights = hide(block, 3, real, "linear", draws(4000))
    counts = hidden[:, 1:5].sum(1).bincount(minlength=5)
    assert counts[0] == 0 and ((counts[1:] - 1000).abs() < 120).all()  # over four standard deviations
    torch.testing.assert_close(weights.sum(1), torch.ones(4000, dtype=torch.float64))
    assert (hidden.double().mean(0)[1:] - 0.625).abs().max() < 0.04  # every position alike: (1 + n) / 2n


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Autoregressive(mask="bidirectional"), "generated later"),
        (lambda: BlockDiffusion(2, mask="bidirectional"), "input is not final"),
        (lambda: BlockDiffusion(2, mask="block_causal"), "input is not final|own clean copy"),
    ],
)
def test_a_mask_that_cannot_be_right_is_refused_with_the_reason(make, reason: str) -> None:
    model = generator()
    with pytest.raises(UserError, match=reason):
        make().losses(model, tokens(), condition_of(model, LABELS), draws(4))


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_the_last_clean_block_is_read_by_nobody(size: int) -> None:
    """The row leaves it out; with it, not one feature of the corrupted copy changes."""
    model, x, paradigm = generator(), tokens(), BlockDiffusion(size)
    row = paradigm.corrupt(x, model, draws(4))
    layout = grid_layout(GRID, size)
    whole = prefix(1) + clean(layout) + noisy(layout)
    assert row.layout.length == whole.length - size
    assert row.hidden is not None
    hidden = torch.cat([torch.zeros(4, 9, dtype=torch.bool), row.hidden[:, -9:]], dim=1)
    condition = condition_of(model, LABELS)
    short = model(row.values, row.layout, row.mask, condition, row.hidden, outputs=9)
    full = model(torch.cat([x.values, x.values], dim=1), whole, row.mask, condition, hidden, outputs=9)
    torch.testing.assert_close(short, full)
