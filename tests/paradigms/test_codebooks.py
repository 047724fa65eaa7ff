"""Autoregression over codebooks: nothing leaks, a cache changes nothing, and rows end where they say."""

import copy
import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import (
    Autoregressive,
    CodebookAutoregressive,
    Decoding,
    Guidance,
    Request,
    SampleOptions,
    SpanInfill,
)
from tests.worlds import condition_of, draws, generator, given

SPEC = TokenSpec("residual", 3, (5, 1, 1), levels=3)
PATTERNS = {
    "flat": CodebookAutoregressive("flat", ends=True),
    "parallel": CodebookAutoregressive("parallel", ends=True),
    "delay": CodebookAutoregressive("delay", ends=True),
    "delay 0 0 3": CodebookAutoregressive("delay", [0, 0, 3], ends=True),
    "coarse_first": CodebookAutoregressive("coarse_first", ends=True),
    "coarse_first 0 0 2": CodebookAutoregressive("coarse_first", [0, 0, 2], ends=True),
}
LABELS = torch.tensor([0, 1, 2, -1, 0, 1])
LENGTHS = torch.tensor([5, 2, 4, 1, 3, 5])
makes = pytest.mark.parametrize(
    "make", [partial(CodebookAutoregressive, ends=True), partial(SpanInfill, ends=True)], ids=["ar", "infill"]
)
patterns = pytest.mark.parametrize("paradigm", PATTERNS.values(), ids=PATTERNS)


def made(spec: TokenSpec = SPEC, **options: object) -> Generator:
    return generator(spec, positions="none", rope=(1, 0, 0), **options)  # type: ignore[arg-type]


def endless(paradigm: CodebookAutoregressive) -> CodebookAutoregressive:
    """The same, whose rows do not end by themselves."""
    other = copy.copy(paradigm)
    other.ends = False
    return other


def tokens(lengths: Tensor | None = None, spec: TokenSpec = SPEC, rows: int = 6, seed: int = 0) -> Tokens:
    shape = (rows, spec.length, spec.levels)
    values = torch.randint(0, spec.size, shape, generator=torch.Generator().manual_seed(seed))
    return Tokens(values, spec.grid, lengths)


# The row of training.


@patterns
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_a_step_never_depends_on_itself_or_what_comes_later(
    paradigm: CodebookAutoregressive, lengths: Tensor | None
) -> None:
    """Change a code, and no bit of the outputs up to its own step may change, and those behind it do."""
    model, x = made(), tokens(lengths)
    row, condition = paradigm.corrupt(x, model, draws(6)), condition_of(model, LABELS)
    features = paradigm.features(model, row, condition)
    pattern = paradigm.steps(model)
    for frame, level in itertools.product(range(5), range(3)):
        changed = x.values.clone()
        changed[:, frame, level] = (changed[:, frame, level] + 1) % 3
        other = paradigm.corrupt(Tokens(changed, x.grid, lengths), model, draws(6))
        after = paradigm.features(model, other, condition)
        for b in range(6):
            length = 5 if lengths is None else int(lengths[b])
            own = int(pattern.place(torch.tensor(frame), length, True)[level])
            same = (after[b] == features[b]).all(-1)
            if frame >= length:
                assert same.all()  # padding
            else:
                assert same[: own + 1].all()
                assert not same[own + 1 : pattern.count(length, True)].any()


@patterns
def test_no_gradient_comes_from_a_later_step(paradigm: CodebookAutoregressive) -> None:
    model, x = made(), tokens(LENGTHS)
    row, condition = paradigm.corrupt(x, model, draws(6)), condition_of(model, LABELS)
    embedded: list[Tensor] = []
    model.embedding.register_forward_hook(
        lambda module, given, out: embedded.append(out.detach().requires_grad_()) or embedded[-1]
    )
    features = paradigm.features(model, row, condition)
    for step in range(row.values.shape[1]):
        (gradient,) = torch.autograd.grad(features[:, : step + 1].sum(), embedded[0], retain_graph=True)
        assert not gradient[:, step:].any()


@patterns
def test_each_code_and_each_end_is_predicted_once(paradigm: CodebookAutoregressive) -> None:
    row = paradigm.corrupt(tokens(LENGTHS), made(), draws(6))
    end = row.targets == 3
    assert torch.equal((row.weights > 0).sum((1, 2)), 3 * LENGTHS + 1)
    assert torch.equal(end.sum((1, 2)), torch.ones(6, dtype=torch.int64)) and not end[..., 1:].any()
    assert (row.weights[end] > 0).all()
    torch.testing.assert_close(row.weights.sum((1, 2)) * LENGTHS, 3.0 * LENGTHS.double() + 1)
    without = endless(paradigm).corrupt(tokens(), made(), draws(6))
    torch.testing.assert_close(without.weights.sum(1), torch.ones(6, 3, dtype=torch.float64))


@pytest.mark.parametrize("name", ["flat", "parallel", "delay", "coarse_first"])
@pytest.mark.parametrize("kind", ["categorical", "bits"])
def test_of_one_level_every_pattern_is_plain_autoregression(name: str, kind: str) -> None:
    spec = TokenSpec(kind, 4, (1, 2, 3))  # type: ignore[arg-type]
    model, paradigm = generator(spec), CodebookAutoregressive(name)  # type: ignore[arg-type]
    values = torch.randint(0, 4, (4, 6), generator=torch.Generator().manual_seed(0))
    for lengths in (None, torch.tensor([6, 3, 1, 5])):
        x, condition = Tokens(values, spec.grid, lengths), condition_of(model, LABELS[:4])
        one, other = (each.bound(model, x, condition, draws(4)) for each in (paradigm, Autoregressive()))
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# Sampling.

GUIDED = SampleOptions(guidance=Guidance(2.5, "linear"), decoding=Decoding(temperature=0.9, top_k=3, top_p=0.97))


def sample(paradigm: CodebookAutoregressive, model: Generator, options: SampleOptions | None = None, **request: object):
    labels, text = request.pop("labels", LABELS), request.pop("text", None)
    keys = request.pop("draws", draws(len(labels)))  # type: ignore[arg-type]
    with torch.inference_mode():
        return list(
            paradigm.sample(
                model, Request(keys, **request, conditions=given(model, labels, text=text)), options or SampleOptions()
            )
        )  # type: ignore[arg-type]


def recorded(model: Generator, run: Callable[[], list]) -> tuple[list, list[Tensor]]:
    """What a run yields, and the features that its passes gave the head."""
    seen: list[Tensor] = []
    plain = model.head.logits
    model.head.logits = lambda features: (seen.append(features), plain(features))[1]  # type: ignore[method-assign]
    states = run()
    model.head.logits = plain  # type: ignore[method-assign]
    return states, seen


@patterns
@pytest.mark.parametrize("options", [SampleOptions(), GUIDED], ids=["plain", "guided"])
@pytest.mark.parametrize("way", ["ends", "given", "full"])
def test_cached_steps_see_what_the_row_of_training_shows(
    paradigm: CodebookAutoregressive, options: SampleOptions, way: str
) -> None:
    """Each pass of each row, against the whole row that training would make of what came out."""
    model, paradigm = made(), endless(paradigm) if way == "full" else paradigm
    if way == "ends":
        model.parts["end"].bias.data += 1.0  # so that rows end before the grid does
    request = {"lengths": LENGTHS} if way == "given" else {}
    states, seen = recorded(model, lambda: sample(paradigm, model, options, **request))
    last = states[-1]
    assert last.committed.all() and len(seen) == last.forward_passes == len(states) - 1
    lengths = {"ends": last.lengths, "given": LENGTHS, "full": torch.full((6,), 5)}[way]
    assert way == "full" or torch.equal(last.lengths, lengths)
    assert way != "ends" or len(lengths.unique()) > 1
    halves = 1 if options.guidance.scale == 1 else 2
    rows = Tokens(last.tokens.repeat(halves, 1, 1), SPEC.grid, None if way == "full" else lengths.repeat(halves))
    with torch.inference_mode():
        row = paradigm.corrupt(rows, model, draws(6 * halves))
        condition = condition_of(model, LABELS if halves == 1 else torch.cat([LABELS, torch.full_like(LABELS, -1)]))
        whole = paradigm.features(model, row, condition)
    compared = 0
    for b in range(6 * halves):
        steps = [s for s in range(whole.shape[1]) if bool((row.weights[b, s] > 0).any())]
        if way != "ends" or lengths[b % 6] == 5:  # no END is drawn behind a length that is known
            steps = [s for s in steps if bool(((row.weights[b, s] > 0) & (row.targets[b, s] < 3)).any())]
        for state, features in zip(states[1:], seen, strict=True):
            if state.block in steps:
                torch.testing.assert_close(features[b], whole[b, state.block], rtol=1e-9, atol=1e-9)
                compared += 1
    assert compared >= 6 * halves * 2


@patterns
@pytest.mark.parametrize("options", [SampleOptions(), GUIDED], ids=["plain", "guided"])
def test_a_row_in_a_batch_is_the_row_alone(paradigm: CodebookAutoregressive, options: SampleOptions) -> None:
    """Also where rows end by themselves, at different steps, and begin with prompts of different lengths."""
    model, known = made(text=Text("abc", 4)), tokens(seed=3).values
    keep = torch.arange(5) < torch.tensor([0, 2, 1, 0, 5, 3])[:, None]
    text = torch.tensor([[0, 1, -1, -1], [2, 2, 1, 0], [0, -1, -1, -1], [1, 1, -1, -1], [2, -1, -1, -1], [0, 1, 2, -1]])
    together = sample(paradigm, model, options, known=known, keep=keep, text=text)[-1]
    assert torch.equal(together.tokens[keep], known[keep])
    assert len(together.lengths.unique()) > 1
    for b in range(6):
        one = torch.tensor([b])
        alone = sample(
            paradigm, model, options, labels=LABELS[one], draws=draws(6).rows(one), known=known[one], keep=keep[one],
            text=text[one],
        )[-1]  # fmt: skip
        assert torch.equal(alone.tokens[0], together.tokens[b]) and alone.lengths[0] == together.lengths[b]


@patterns
def test_states_stream_whole_frames_which_stay(paradigm: CodebookAutoregressive) -> None:
    model = made()
    states = sample(paradigm, model)
    for before, after in zip(states, states[1:], strict=False):
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
        assert (after.committed | ~before.committed).all()
    assert (states[0].lengths == 5).all() and not states[0].committed.any()
    last, count = states[-1], {"flat": 15, "parallel": 5, "delay": 7, "delay 0 0 3": 8}
    assert (last.tokens < 3).all() and (last.lengths >= 1).all()
    for row, length in zip(last.tokens, last.lengths, strict=True):
        assert not row[length:].any()
    name = next(name for name, each in PATTERNS.items() if each is paradigm)
    if name in count:
        assert sample(endless(paradigm), made())[-1].forward_passes == count[name]
        firsts = [int(state.committed[0].sum()) for state in sample(endless(paradigm), made())]
        assert firsts == sorted(firsts) and firsts[-1] == 5
        frame = {"flat": 3, "parallel": 1, "delay": 3, "delay 0 0 3": 4}[name]  # passes until the first one is whole
        assert firsts[frame - 1] == 0 and firsts[frame] == 1


@pytest.mark.parametrize("name", ["flat", "parallel", "delay", "coarse_first"])
def test_samples_follow_the_exact_likelihood(name: str) -> None:
    """The law of what is drawn, ends included, is that which the loss measures."""
    spec, count = TokenSpec("residual", 2, (3, 1, 1), levels=2), 4000
    model, paradigm = made(spec=spec, classes=0), CodebookAutoregressive(name, ends=True)  # type: ignore[arg-type]
    rows = {
        length: torch.tensor(list(itertools.product(range(2), repeat=2 * length))).view(-1, length, 2)
        for length in (1, 2)
    }
    law = []
    with torch.inference_mode():
        for length, codes in rows.items():
            padded = torch.nn.functional.pad(codes, (0, 0, 0, 3 - length))
            x = Tokens(padded, spec.grid, torch.full((len(codes),), length))
            none = torch.full((len(codes),), -1)
            law.append((-length * paradigm.bound(model, x, condition_of(model, none), draws(len(codes)))).exp())
    expected = torch.cat(law)
    expected = torch.cat([expected, 1 - expected.sum(0, keepdim=True)])
    assert 0.05 < expected[-1] < 0.95
    last = sample(paradigm, model, labels=torch.full((count,), -1), draws=draws(count))[-1]
    number = (last.tokens.flatten(1)[:, :4] * 2 ** torch.tensor([3, 2, 1, 0])).sum(1)
    first = (last.tokens.flatten(1)[:, :2] * 2 ** torch.tensor([1, 0])).sum(1)
    found = torch.where(last.lengths == 1, first, torch.where(last.lengths == 2, 4 + number, 20)).bincount(minlength=21)
    statistic = float(((found - count * expected) ** 2 / (count * expected)).sum())
    assert statistic < chi2.ppf(1 - 1e-4, 20)


@makes
def test_steps_are_forgotten_in_training_alone(make: Callable[..., CodebookAutoregressive | SpanInfill]) -> None:
    model, x, keys = made(), tokens(LENGTHS), draws(6)
    plain = make().corrupt(x, model, keys).hidden
    assert plain is not None
    for training in (True, False):
        model.train(training)
        for share in (0.0, 0.4, 1.0):
            row = make(input_dropout=share).corrupt(x, model, keys)
            assert row.hidden is not None
            more = (row.hidden & ~plain).any(-1)
            assert not (plain & ~row.hidden).any()
            assert torch.equal(row.targets, make().corrupt(x, model, keys).targets)
            assert more.any() == (training and share > 0)
            whole = row.hidden.all(-1) | (row.hidden == plain).all(-1)  # all levels of a step or none
            assert whole.all()
            if training and share == 1:
                assert row.hidden.all()


@makes
def test_mistakes_are_seen_in_training_alone_and_never_asked_for(
    make: Callable[..., CodebookAutoregressive | SpanInfill],
) -> None:
    spec = TokenSpec("residual", 16, (40, 1, 1), levels=3)
    model, x, keys = made(spec), tokens(spec=spec), draws(6)
    plain = make().corrupt(x, model, keys)
    for training in (True, False):
        model.train(training)
        row = make(token_noise=0.3).corrupt(x, model, keys)
        assert torch.equal(row.targets, plain.targets)
        shown = ~plain.hidden  # type: ignore[operator]
        share = (row.values != plain.values)[shown].double().mean().item()
        assert share == pytest.approx(0.3 * 15 / 16 if training else 0, abs=0.03)
        assert row.values.min() >= 0
        assert row.values.max() < 16
    with pytest.raises(UserError, match="input_dropout and token_noise are shares from 0 to 1, got 0 and 2"):
        make(token_noise=2.0)


def test_a_given_length_or_none_leaves_no_end() -> None:
    given = sample(PATTERNS["delay"], made(), lengths=LENGTHS)[-1]
    assert torch.equal(given.lengths, LENGTHS) and (given.tokens < 3).all()
    assert sample(endless(PATTERNS["delay"]), made())[-1].lengths is None


def test_the_grid_of_the_request_is_the_cap() -> None:
    model = made()
    with torch.no_grad():
        model.parts["end"].bias[:] = -1e4  # END of the first level never comes
    last = sample(PATTERNS["delay"], model, grid=(9, 1, 1))[-1]
    assert last.tokens.shape == (6, 9, 3) and (last.lengths == 9).all()
    with torch.no_grad():
        model.parts["end"].bias[:] = 1e4  # at once
    assert (sample(PATTERNS["delay"], model, grid=(9, 1, 1))[-1].lengths == 1).all()


def test_a_prompt_is_read_in_one_pass() -> None:
    known, keep = tokens().values, torch.arange(5).expand(6, -1) < 3
    states = sample(endless(PATTERNS["delay"]), made(), known=known, keep=keep)
    assert states[1].block == 3 and len(states) - 1 == 7 - 3
    keep = keep.clone()
    keep[2] = torch.tensor([False, True, False, False, False])
    with pytest.raises(UserError, match="cannot see the kept position 1 of row 2"):
        sample(endless(PATTERNS["delay"]), made(), known=known, keep=keep)


@pytest.mark.parametrize(
    ("paradigm", "model", "words"),
    [
        (CodebookAutoregressive(mask="bidirectional"), made(), "generated later"),
        (
            CodebookAutoregressive(),
            generator(SPEC, positions="learned"),
            "the row goes on to place 5 and the learned table .* ends at 4",
        ),
        (CodebookAutoregressive(delays=[0, 1]), made(), "2 numbers for 3 levels"),
        (CodebookAutoregressive(), made(actions=2), "follows no actions"),
    ],
)
def test_what_cannot_be_is_refused(paradigm: CodebookAutoregressive, model: Generator, words: str) -> None:
    with pytest.raises(UserError, match=words):
        paradigm.corrupt(tokens(), model, draws(6))
    with pytest.raises(UserError, match="a coarser level after a finer one"):
        CodebookAutoregressive("delay", [0, 2, 1])
