"""Laws 3 and 8: cached decoding equals recomputation, and a row does not depend on its neighbours."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout, prefix
from mmgen.core.tokens import take_positions
from mmgen.model.generator import Generator
from mmgen.paradigms import (
    Autoregressive,
    BlockDiffusion,
    ContinuousBlockDiffusion,
    Decoding,
    FrameAutoregressive,
    Guidance,
    Masked,
    MaskedCodebooks,
    MaskedDiffusion,
    Paradigm,
    Permuted,
    Request,
    SampleOptions,
    State,
)
from mmgen.paradigms.autoregressive.steps import StepParadigm
from mmgen.paradigms.blocks.blockwise import Blockwise
from tests.worlds import GRID, PARADIGMS, condition_of, draws, generator, ragged, spec_for, tokens_for

OPTIONS = {
    "plain": SampleOptions(),
    "guided": SampleOptions(
        steps=3, guidance=Guidance(2.5, "linear"), decoding=Decoding(temperature=0.8, top_k=9, top_p=0.95)
    ),
    "margin": SampleOptions(steps=2, guidance=Guidance(1.5), decoding=Decoding(order="margin")),
    "threshold": SampleOptions(decoding=Decoding(select="threshold", threshold=0.3)),
    "entropy": SampleOptions(decoding=Decoding(select="entropy_bound", entropy_bound=2.0, order="entropy")),
    "random": SampleOptions(decoding=Decoding(order="random")),
}
LABELS = torch.tensor([0, 1, 2, -1, 0])
CONTINUOUS = {name: each for name, each in PARADIGMS.items() if isinstance(each, ContinuousBlockDiffusion)}
# Diffusion of a whole row has no cache, and paradigms over codebooks have steps: their own tests say what a pass sees;
# test_video_laws.py does for frames.
OTHERS = ContinuousBlockDiffusion | FrameAutoregressive | MaskedCodebooks | MaskedDiffusion | Permuted | StepParadigm
DISCRETE = {name: each for name, each in PARADIGMS.items() if not isinstance(each, OTHERS)}
paradigms = pytest.mark.parametrize("paradigm", PARADIGMS.values(), ids=PARADIGMS)
options_ = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    """Equal tokens; vectors to rounding, since a batch of another size multiplies its matrices in another order."""
    if one.is_floating_point():
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # diffusers' flow scheduler steps in float32
    else:
        assert torch.equal(one, other)


def sampled(
    paradigm: Paradigm, model: Generator, options: SampleOptions | None = None, **request: torch.Tensor | None
) -> list[State]:
    predicted = Request(draws(5), conditions={"class": LABELS}, **request)  # type: ignore[arg-type]
    return list(paradigm.sample(model, predicted, options or SampleOptions()))


@paradigms
@options_
@torch.inference_mode()
def test_a_ragged_batch_equals_each_row_alone(paradigm: Paradigm, options: SampleOptions) -> None:
    model, lengths = generator(spec_for(paradigm)), torch.tensor([9, 5, 7, 1, 9]) if ragged(paradigm) else None
    if isinstance(paradigm, MaskedDiffusion) and paradigm.noise.tells_time:  # rows that stop early too
        options = replace(options, decoding=replace(options.decoding, stop_entropy=2.0))
    together = sampled(paradigm, model, options, lengths=lengths)[-1].tokens
    for row in range(5):
        one = torch.tensor([row])
        own = None if lengths is None else lengths[one]
        *_, last = paradigm.sample(model, Request(draws(5).rows(one), own, conditions={"class": LABELS[one]}), options)
        length = 9 if own is None else int(own)
        same(last.tokens[0, :length], together[row, :length])


@pytest.mark.parametrize("paradigm", DISCRETE.values(), ids=DISCRETE)
@options_
@torch.inference_mode()
def test_cached_sampling_draws_what_full_recomputation_would(paradigm: Paradigm, options: SampleOptions) -> None:
    """Every logit a sampler uses, recomputed without a cache from the row that training would show for that state."""
    model = generator()
    seen: list[tuple[tuple[torch.Tensor, ...], torch.Tensor]] = []
    head_logits = model.head.logits

    def record(features: torch.Tensor) -> torch.Tensor:
        seen.append(((features,), head_logits(features)))
        return seen[-1][1]

    model.head.logits = record  # type: ignore[method-assign]
    states = sampled(paradigm, model, options)
    model.head.logits = head_logits  # type: ignore[method-assign]
    guided = options.guidance.scale != 1
    rows = torch.cat([LABELS, torch.full_like(LABELS, -1)]) if guided else LABELS
    condition = condition_of(model, rows)
    for before, ((features,), _) in zip(states, seen, strict=False):
        expected = full_row(paradigm, model, before, condition, 2 if guided else 1)[:, -features.shape[1] :]
        torch.testing.assert_close(features, expected, rtol=1e-9, atol=1e-9)
    assert len(seen) == states[-1].forward_passes == len(states) - 1


def full_row(paradigm: Paradigm, model, state, condition, halves: int) -> torch.Tensor:
    """Features for the next step, from one uncached pass over all that is known."""
    tokens, committed = state.tokens.repeat(halves, 1), state.committed.repeat(halves, 1)
    if isinstance(paradigm, Autoregressive):
        done = state.step  # one token a step
        row = (prefix(1) + grid_layout((1, 3, 3))).slice(0, 1 + done)
        return model(tokens[:, :done], row, paradigm.mask, condition)
    if isinstance(paradigm, Masked):
        return model(tokens, prefix(1) + grid_layout((1, 3, 3)), paradigm.mask, condition, hidden=~committed)
    assert isinstance(paradigm, BlockDiffusion)
    row = paradigm.sampling_row(model, Request(draws(5), conditions={"class": LABELS}))
    if row.order is not None:
        order = row.order.expand(5, -1).repeat(halves, 1)
        tokens, committed = take_positions(tokens, order), take_positions(committed, order)
    hidden = torch.cat([torch.zeros_like(committed), ~committed], dim=1)
    layout = (row.prefix + row.clean + row.noisy).repeat(halves)
    features = model(torch.cat([tokens, tokens], dim=1), layout, paradigm.mask, condition, hidden=hidden, outputs=9)
    open_blocks = row.unit[~committed.all(0)]
    return features[:, row.unit == open_blocks.min()]


@pytest.mark.parametrize("paradigm", CONTINUOUS.values(), ids=CONTINUOUS)
@pytest.mark.parametrize("scale", [1.0, 2.0])
@torch.inference_mode()
def test_cached_denoising_predicts_what_a_whole_row_would(paradigm: ContinuousBlockDiffusion, scale: float) -> None:
    """Every pass, repeated without a cache on the clean blocks that were finished before it and its own noisy block."""
    model, seen, forward = generator(spec_for(paradigm)), [], type(generator()).forward

    names = ("mask", "condition", "hidden", "cache", "store", "outputs", "added", "modulation")

    def record(values, layout, *rest, **named):
        features = forward(model, values, layout, *rest, **named)
        seen.append((values, named | dict(zip(names, rest)) | {"features": features}))
        return features

    model.forward = record
    options = SampleOptions(guidance=Guidance(scale))
    states = sampled(paradigm, model, options)
    row = paradigm.sampling_row(model, Request(draws(5), conditions={"class": LABELS}))
    final = states[-1].tokens if row.order is None else take_positions(states[-1].tokens, row.order)
    final = final.repeat(1 if scale == 1 else 2, 1, 1)
    assert len(seen) == states[-1].forward_passes == len(states) - 1 == 3 * row.count
    for number, (values, named) in enumerate(seen):
        begin, end = row.bounds[number // 3], row.bounds[number // 3 + 1]
        whole = torch.cat([final[:, :begin], values[:, -(end - begin) :]], dim=1)
        layout = (row.prefix + row.clean.slice(0, begin) + row.noisy.slice(begin, end)).repeat(1 if scale == 1 else 2)
        modulation = F.pad(named["modulation"][:, begin - end :], (0, 0, begin, 0))  # of what is clean, none
        expected = forward(
            model, whole, layout, paradigm.mask, named["condition"], outputs=end - begin, modulation=modulation
        )
        torch.testing.assert_close(named["features"], expected, rtol=1e-9, atol=1e-9)


@paradigms
@torch.inference_mode()
def test_kept_positions_survive_and_committed_ones_never_change(paradigm: Paradigm) -> None:
    model, known = generator(spec_for(paradigm)), tokens_for(paradigm, rows=5, seed=1).values
    keep = torch.zeros(5, 9, dtype=torch.bool)
    beginning = torch.arange(4 if ragged(paradigm) else 2)
    if isinstance(paradigm, Blockwise) and not paradigm.split.is_raster and not paradigm.split.is_drawn:
        beginning = paradigm.row(model, GRID, draws(5)).order[:2]
    keep[:, beginning], keep[0, :] = True, True  # a beginning, of the first tile too; the first row is given whole
    states = sampled(paradigm, model, known=known, keep=keep)
    assert torch.equal(states[-1].tokens[keep], known[keep]) and states[-1].committed.all()
    for before, after in zip(states, states[1:], strict=False):
        assert (after.committed | ~before.committed).all()
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])


@torch.inference_mode()
def test_a_hole_is_filled_where_the_whole_row_is_seen_and_refused_where_not() -> None:
    model, known = generator(), torch.zeros(5, 9, dtype=torch.int64)
    keep = torch.ones(5, 9, dtype=torch.bool)
    keep[:, 2:4] = False
    request = Request(draws(5), known=known, keep=keep, conditions={"class": LABELS})
    for fine in (Masked(), BlockDiffusion(9)):
        assert list(fine.sample(model, request, SampleOptions()))[-1].committed.all()
    for refused in (Autoregressive(), BlockDiffusion(1), BlockDiffusion(4)):
        with pytest.raises(UserError, match="cannot see the kept position"):
            list(refused.sample(model, request, SampleOptions()))


@paradigms
@torch.inference_mode()
def test_everything_known_takes_no_pass(paradigm: Paradigm) -> None:
    known, keep = tokens_for(paradigm, rows=5).values, torch.ones(5, 9, dtype=torch.bool)
    (state,) = sampled(paradigm, generator(spec_for(paradigm)), known=known, keep=keep)
    assert torch.equal(state.tokens, known) and state.forward_passes == 0


@torch.inference_mode()
def test_guidance_with_scale_one_is_the_conditional_model() -> None:
    for paradigm in PARADIGMS.values():
        model = generator(spec_for(paradigm))
        near = sampled(paradigm, model, SampleOptions(guidance=Guidance(1 + 1e-12)))[-1].tokens
        same(sampled(paradigm, model)[-1].tokens, near)


def test_guidance_needs_a_conditional_model() -> None:
    request = Request(draws(2))
    with pytest.raises(UserError, match="takes no condition"):
        list(Masked().sample(generator(classes=0), request, SampleOptions(guidance=Guidance(2.0))))
