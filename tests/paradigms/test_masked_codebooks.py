"""Masked generation over codebooks against a perfect model of an enumerable world, and with a network."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import Decoding, Masked, MaskedCodebooks, Request, SampleOptions
from mmgen.paradigms.masked.codebooks import Spans
from tests.paradigms.oracle import Oracle, code_world
from tests.worlds import SPECS, condition_of, draws, generator, tokens_for

SPEC = TokenSpec("residual", 5, (7, 1, 1), levels=3, modality="speech", rate=10.0, stride=4, first=4)
TEXT = Text("abc ", 4, pace=0.2)
LABELS = torch.tensor([0, 1, 2, -1, 0])
SAID = torch.tensor([[0, 1, -1, -1], [2, 2, 2, 2], [0, -1, -1, -1], [-1, -1, -1, -1], [1, 3, 1, -1]])
LENGTHS = torch.tensor([7, 3, 5, 1, 7])
RANDOM = Decoding(order="random")
KINDS = {
    "plain": MaskedCodebooks(steps=(4, 2)),
    "spans": MaskedCodebooks(steps=(2,), span=3),
    "near": MaskedCodebooks(steps=(3, 1), context=1, greedy=1),
}
kinds = pytest.mark.parametrize("paradigm", KINDS.values(), ids=KINDS)


def spoken() -> Generator:
    """A small generator of SPEC with classes and text, in which everything influences everything."""
    return generator(SPEC, positions="none", rope=(1, 0, 0), modulation="none", text=TEXT)


def codes(rows: int = 5, seed: int = 0, lengths: Tensor | None = None) -> Tokens:
    source = torch.Generator().manual_seed(seed)
    return Tokens(torch.randint(0, 5, (rows, 7, 3), generator=source), SPEC.grid, lengths)


def request_of(rows: int = 5, **more) -> Request:
    return Request(draws(rows), **more, conditions={"class": LABELS[:rows], "text": SAID[:rows]})


# The bound


@pytest.mark.parametrize("coarse", [0.0, 1.0, 2.0])
@torch.inference_mode()
def test_the_bound_of_a_perfect_model_is_the_entropy_and_of_others_more(coarse: float) -> None:
    """However often levels are drawn: within five standard errors."""
    world, paradigm, count = code_world(), MaskedCodebooks("linear", coarse=coarse), 20_000
    x = Tokens(world.sample(count, 5), world.spec.grid)
    for model in (Oracle(world), Oracle(code_world(1)), generator(world.spec, classes=0)):
        nats = paradigm.bound(model, x, condition_of(model, torch.full((count,), -1)), draws(count))
        over, error = float(nats.mean()) - world.entropy, float(nats.std()) / count**0.5
        assert abs(over) < 5 * error < 0.05 if getattr(model, "law", None) is world.law else over > 0.05


def test_the_bound_is_linear_and_without_a_prompt_whatever_training_is() -> None:
    model, x = spoken(), codes(lengths=LENGTHS)
    condition = condition_of(model, LABELS, text=SAID)
    trained = MaskedCodebooks("cosine", prompt=1.0, span=2)
    (plain,) = MaskedCodebooks("linear", span=2).losses(model, x, condition, draws(5)).values()
    assert torch.equal(trained.bound(model, x, condition, draws(5)), plain.double())
    (loss,) = trained.losses(model, x, condition, draws(5)).values()
    assert not torch.equal(loss, plain)


# Training rows


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@kinds
def test_coarser_levels_are_seen_and_finer_ones_are_not(paradigm: MaskedCodebooks, lengths: Tensor | None) -> None:
    count = 200
    lengths = None if lengths is None else lengths.repeat(count // 5)
    row = paradigm.corrupt(codes(count, lengths=lengths), spoken(), draws(count))
    real = torch.arange(7) < (torch.full((count,), 7) if lengths is None else lengths)[:, None]
    level = row.weights.amax(1).argmax(1)
    assert level.unique().tolist() == [0, 1, 2]
    for hidden, weights, q, here in zip(row.hidden, row.weights, level, real):
        assert not hidden[:, :q].any() and not hidden[~here].any() and hidden[here, q + 1 :].all()
        assert ((weights > 0) == hidden & (torch.arange(3) == q)).all() and hidden[:, q].any()
        if paradigm.span == 1:
            torch.testing.assert_close(weights.sum(), torch.tensor(3.0, dtype=torch.float64))
        else:  # whole spans, of which the last one is shorter
            ends = [hidden[begin : begin + 3, q][here[begin : begin + 3]] for begin in (0, 3, 6)]
            assert all(bool(part.all()) or not part.any() for part in ends)


def test_a_prompt_is_seen_at_all_levels_and_asks_for_nothing() -> None:
    count, lengths = 3000, torch.tensor([4, 7]).repeat(1500)
    row = MaskedCodebooks("linear", prompt=0.5).corrupt(codes(count, lengths=lengths), spoken(), draws(count))
    coarse = row.weights[..., 0].sum(1) > 0
    hidden, length = row.hidden[coarse], lengths[coarse]
    begin = (~hidden[..., 1]).int().cumprod(1).sum(1)
    for n, position in enumerate(range(7)):
        beyond = position >= begin  # behind the prompt: all of the finer levels is hidden
        assert torch.equal(hidden[:, n, 2], beyond & (position < length))
        assert not hidden[~beyond, n].any()
    for n in (4, 7):
        share = begin[length == n].bincount(minlength=n).double() / (length == n).sum()
        assert len(share) == n and (share[1:] - 0.5 / n).abs().max() < 0.05
        assert abs(float(share[0]) - 0.5 - 0.5 / n) < 0.08  # no prompt, or one of no length
    torch.testing.assert_close(row.weights[..., 0].sum(1)[coarse], torch.full((len(hidden),), 3.0).double())


# Samples


@torch.inference_mode()
def test_a_whole_level_at_once_draws_its_codes_independently() -> None:
    """Given coarser levels, so that what is left is the price of one step, and known exactly."""
    world, count = code_world(), 6000
    request = Request(draws(count))
    *_, last = MaskedCodebooks(steps=(1,)).sample(Oracle(world), request, SampleOptions(decoding=RANDOM))
    joint = world.law.view(2, 2, 2, 2)  # first frame's codes, then the second's
    coarse = joint.sum((1, 3))
    fine = joint / coarse[:, None, :, None]
    law = coarse.sum(1)[:, None, None, None] * coarse.sum(0)[None, None, :, None]
    expected = (law * fine.sum(3, keepdim=True) * fine.sum(1, keepdim=True)).flatten() * count
    statistic = float(((world.histogram(last.tokens) - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(1 - 1e-4, len(expected) - 1)
    assert last.forward_passes == 2


@kinds
@torch.inference_mode()
def test_every_pass_sees_what_training_shows(paradigm: MaskedCodebooks) -> None:
    """Coarser levels as they are, the level's own revealed codes, and nothing finer; with the layout of training."""
    model, seen, forward = spoken(), [], Generator.forward

    def record(values, layout, mask, condition, hidden, *rest, **named):
        seen.append((values, layout, mask, hidden))
        return forward(model, values, layout, mask, condition, hidden, *rest, **named)

    model.forward = record
    states = list(paradigm.sample(model, request_of(), SampleOptions(decoding=RANDOM)))
    levels = [state.block for state in states[1:]]
    trained = paradigm.corrupt(codes(), spoken(), draws(5))
    assert len(seen) == states[-1].forward_passes == len(states) - 1 and levels == sorted(levels)
    for (values, layout, mask, hidden), before, level in zip(seen, states, levels):
        assert not hidden[..., :level].any() and hidden[..., level + 1 :].all() and hidden[..., level].any()
        assert torch.equal(values[~hidden], before.tokens[~hidden])
        q = trained.weights.amax(1).argmax(1)
        rows = layout.expand(5)
        used = paradigm.mask.dense(rows, rows)
        visible_now = trained.mask.dense(trained.layout, trained.layout).expand(5, -1, -1, -1)
        assert mask is paradigm.mask and all(torch.equal(used[n], visible_now[n]) for n in range(5) if q[n] == level)


@torch.inference_mode()
def test_steps_are_counted_by_level_and_the_first_can_be_asked_for() -> None:
    model = spoken()
    for steps, asked_for, passes in (((4, 2, 1), None, 7), ((4, 2), None, 8), ((4, 2), 6, 10), ((9,), 99, 21)):
        options = SampleOptions(steps=asked_for, decoding=RANDOM)
        states = list(MaskedCodebooks("linear", steps=steps).sample(model, request_of(), options))
        assert states[-1].forward_passes == passes, (steps, asked_for)


@torch.inference_mode()
def test_whole_spans_are_revealed() -> None:
    states = list(MaskedCodebooks("linear", steps=(3,), span=3).sample(spoken(), request_of(), SampleOptions()))
    assert len(states) == 10
    for state in states[1:4]:  # of the first level
        first = state.drafted
        assert torch.equal(first[:, 0:3], first[:, :1].expand(-1, 3)) and torch.equal(first[:, 3], first[:, 5])
    assert [int(state.drafted.sum(1).min()) for state in states[1:4]][-1] == 7


@torch.inference_mode()
def test_greedy_levels_are_the_most_probable_codes() -> None:
    model = spoken()
    cold = SampleOptions(decoding=Decoding(temperature=0, order="entropy", noise=0))
    warm = replace(cold, decoding=replace(cold.decoding, temperature=1.0))
    *_, coldest = MaskedCodebooks(steps=(2,)).sample(model, request_of(), cold)
    *_, all_greedy = MaskedCodebooks(steps=(2,), greedy=0).sample(model, request_of(), warm)
    *_, mixed = MaskedCodebooks(steps=(2,), greedy=1).sample(model, request_of(), warm)
    assert torch.equal(coldest.tokens, all_greedy.tokens) and not torch.equal(coldest.tokens, mixed.tokens)
    keep = torch.zeros(5, 7, dtype=torch.bool)
    *_, drawn = MaskedCodebooks(steps=(2,)).sample(model, request_of(known=mixed.tokens, keep=keep), warm)
    assert torch.equal(drawn.tokens[..., 0], mixed.tokens[..., 0])
    assert not torch.equal(drawn.tokens[..., 1], mixed.tokens[..., 1])


# Mistakes, and spans as joint tokens


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": ()}, "at least 1"),
        ({"steps": (3, 0)}, "at least 1"),
        ({"span": 0}, "span 0"),
        ({"context": 0}, "context 0"),
        ({"prompt": 1.5}, "prompt 1.5"),
        ({"coarse": -1.0}, "coarse -1.0"),
        ({"greedy": -1}, "greedy -1"),
    ],
)
def test_wrong_options_are_refused(options: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        MaskedCodebooks(**options)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
def test_spans_tile_a_row_and_give_it_back(size: int) -> None:
    spans, values = Spans(SPEC.size, 7, size), codes().values[..., 0]
    tiles = spans.tiles(values)
    assert tiles.shape == (5, -(-7 // size), size) and torch.equal(spans.row(tiles), values)


def test_tokens_of_one_code_train_as_masked_tokens_do() -> None:
    model, x = generator(SPECS["bits"]), tokens_for(Masked())
    one, other = (paradigm.corrupt(x, model, draws(4)) for paradigm in (MaskedCodebooks("cosine"), Masked("cosine")))
    condition = condition_of(model, torch.full((4,), -1))
    assert torch.equal(one.hidden[..., 0], other.hidden)  # type: ignore[index]
    assert torch.equal(MaskedCodebooks().loss(model, one, condition), Masked().loss(model, other, condition))


def test_mistakes_are_seen_in_training_alone_and_never_asked_for() -> None:
    spec = TokenSpec("residual", 16, (40, 1, 1), levels=3, modality="speech", rate=10.0, stride=4, first=4)
    model, keys = generator(spec), draws(6)
    x = Tokens(torch.randint(0, 16, (6, 40, 3), generator=torch.Generator().manual_seed(0)), spec.grid)
    plain = MaskedCodebooks().corrupt(x, model, keys)
    for training in (True, False):
        model.train(training)
        row = MaskedCodebooks(token_noise=0.3).corrupt(x, model, keys)
        assert torch.equal(row.targets, x.values) and torch.equal(row.hidden, plain.hidden)  # type: ignore[arg-type]
        assert torch.equal(row.weights, plain.weights)
        share = (row.values != x.values)[~plain.hidden].double().mean().item()  # type: ignore[operator]
        assert share == pytest.approx(0.3 * 15 / 16 if training else 0, abs=0.05)
        assert int(row.values.min()) >= 0 and int(row.values.max()) < 16
    with pytest.raises(UserError, match=r"token_noise 2\.0 must lie in \[0, 1\]"):
        MaskedCodebooks(token_noise=2.0)
