"""What fills holes: it has the law of training, and the rest of the row stays as it is."""

import itertools
from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import CodebookAutoregressive, Decoding, Guidance, Request, SampleOptions, SpanInfill
from mmgen.paradigms.infilling.filling import Filling
from mmgen.paradigms.infilling.spans import Spans
from tests.paradigms.spanned import (
    LABELS,
    LENGTHS,
    PLACINGS,
    SPANS,
    SPEC,
    infill,
    keeps,
    made,
    names,
    placings,
    tokens,
)
from tests.worlds import condition_of, condition_values, draws, generator

PLAIN = SampleOptions()
GUIDED = SampleOptions(guidance=Guidance(2.5, "linear"), decoding=Decoding(temperature=0.9, top_k=3, top_p=0.97))


def free(options: SampleOptions = PLAIN) -> SampleOptions:
    return replace(options, fit=False)


def sample(paradigm: SpanInfill, model: Generator, options: SampleOptions = PLAIN, **request: object) -> list:
    labels, text = request.pop("labels", LABELS), request.pop("text", None)
    keys = request.pop("draws", draws(len(labels)))  # type: ignore[arg-type]
    with torch.inference_mode():
        return list(
            paradigm.sample(
                model, Request(keys, **request, conditions=condition_values(model, labels, text=text)), options
            )
        )  # type: ignore[arg-type]


@names
@placings
@pytest.mark.parametrize("options", [PLAIN, GUIDED], ids=["plain", "guided"])
def test_what_is_kept_stays_in_its_place_and_holes_are_filled(name: str, placing: str, options: SampleOptions) -> None:
    paradigm, x = infill(name, positions=placing), tokens()  # type: ignore[arg-type]
    states = sample(paradigm, made(), options, known=x.values, keep=keeps(), lengths=LENGTHS)
    last, real = states[-1], torch.arange(9) < LENGTHS[:, None]
    assert last.committed.all() and torch.equal(last.tokens[keeps() & real], x.values[keeps() & real])
    assert not last.tokens[~real].any() and (last.tokens < 3).all()
    assert torch.equal(states[0].committed, keeps() | ~real) and last.forward_passes == len(states) - 1
    for before, after in itertools.pairwise(states):
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
        assert (after.committed | ~before.committed).all()


@pytest.fixture
def fillings(monkeypatch: pytest.MonkeyPatch) -> list[Filling]:
    """Those that samplers make."""
    made: list[Filling] = []

    class Noted(Filling):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr("mmgen.paradigms.infilling.span_infill.Filling", Noted)
    return made


def moved(widths: Tensor) -> Spans:
    """SPANS when they have become so wide."""
    grown = (widths - SPANS.length).cumsum(1) - (widths - SPANS.length)
    return Spans(torch.where(SPANS.length > 0, SPANS.start + grown, 0), widths)


@names
@pytest.mark.parametrize("placing", [*PLACINGS, "free"])
@pytest.mark.parametrize("options", [PLAIN, GUIDED], ids=["plain", "guided"])
def test_cached_steps_see_what_the_row_of_training_shows(
    name: str, placing: str, options: SampleOptions, fillings: list[Filling]
) -> None:
    """Each pass of each row, against the whole row that training would make of what came out."""
    placing, fit = ("closed", False) if placing == "free" else (placing, True)
    paradigm, model, x = infill(name, positions=placing), made(), tokens()  # type: ignore[arg-type]
    model.parts["end"].bias.data += 3.0  # so that spans end before the grid does
    known, grid = torch.nn.functional.pad(x.values, (0, 0, 0, 31)), (40, 1, 1)
    seen: list[Tensor] = []
    plain = model.head.logits
    model.head.logits = lambda features: (seen.append(features), plain(features))[1]  # type: ignore[method-assign]
    chosen, keep = options if fit else free(options), keeps(full=40)
    last = sample(paradigm, model, chosen, known=known, keep=keep, lengths=LENGTHS, grid=grid)[-1]
    model.head.logits = plain  # type: ignore[method-assign]
    spans = moved(fillings[0].widths)
    context = LENGTHS - SPANS.length.sum(1)
    lengths = context + spans.length.sum(1)
    assert torch.equal(last.lengths, lengths) and last.committed.all()
    assert torch.equal(spans.length, SPANS.length) == fit and (lengths < 40).all()
    halves = 1 if options.guidance.scale == 1 else 2
    twice = Spans(spans.start.repeat(halves, 1), spans.length.repeat(halves, 1))
    with torch.inference_mode():
        rows = Tokens(last.tokens.repeat(halves, 1, 1), grid, lengths.repeat(halves))
        labels = LABELS if halves == 1 else torch.cat([LABELS, torch.full_like(LABELS, -1)])
        row = infill(name, positions=placing, context=False).arrange(rows, model, twice)  # type: ignore[arg-type]
        whole = paradigm.features(model, row, condition_of(model, labels))
    for b in range(5 * halves):
        predicted = (row.weights[b] > 0) & (row.targets[b] < 3 + (not fit))  # no END is drawn where lengths are kept
        expected = whole[b, predicted.any(-1)] if twice.count[b] else whole[b, :0]
        actual = torch.stack([features[b] for features in seen])[: len(expected)]
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@names
@pytest.mark.parametrize("options", [PLAIN, GUIDED, free()], ids=["plain", "guided", "free"])
def test_a_row_in_a_batch_is_the_row_alone(name: str, options: SampleOptions) -> None:
    paradigm, model, x = infill(name, positions="closed"), made(text=Text("abc", 3)), tokens()  # type: ignore[arg-type]
    text = torch.tensor([[0, 1, 2], [2, -1, -1], [1, 1, -1], [0, 0, -1], [-1, -1, -1]])
    known, keep, grid = torch.nn.functional.pad(x.values, (0, 0, 0, 11)), keeps(full=20), (20, 1, 1)
    together = sample(paradigm, model, options, known=known, keep=keep, lengths=LENGTHS, grid=grid, text=text)[-1]
    for b in range(5):
        one = torch.tensor([b])
        single = sample(
            paradigm, model, options, labels=LABELS[one], draws=draws(5).rows(one), known=known[one], keep=keep[one],
            lengths=LENGTHS[one], grid=grid, text=text[one],
        )[-1]  # fmt: skip
        assert torch.equal(single.tokens[0], together.tokens[b]) and single.lengths[0] == together.lengths[b]


@names
def test_what_follows_a_span_of_free_length_moves_whole(name: str, fillings: list[Filling]) -> None:
    paradigm, x = infill(name, positions="rearranged"), tokens()  # type: ignore[arg-type]
    known = torch.nn.functional.pad(x.values, (0, 0, 0, 11))
    states = sample(paradigm, made(), free(), known=known, keep=keeps(full=20), lengths=LENGTHS, grid=(20, 1, 1))
    last, spans = states[-1], moved(fillings[0].widths)
    assert (last.lengths <= 20).all() and (spans.length[SPANS.length > 0] > 0).all()
    for b in range(5):
        context = last.tokens[b, keeps(spans, 20)[b]][: int((keeps() & (torch.arange(9) < LENGTHS[:, None]))[b].sum())]
        assert torch.equal(context, x.values[b, : LENGTHS[b]][keeps()[b, : LENGTHS[b]]])
        assert not last.tokens[b, last.lengths[b] :].any()
    for before, after in itertools.pairwise(states):
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
        assert (after.committed | ~before.committed).all()


@pytest.mark.parametrize("name", ["flat", "delay"])
@pytest.mark.parametrize("fit", [True, False], ids=["fit", "free"])
def test_what_fills_a_hole_follows_the_likelihood(name: str, fit: bool) -> None:
    """Of a hole of two frames, or of any number of them up to the cap, which takes what is left of the law."""
    spec, count = TokenSpec("residual", 2, (5, 1, 1), levels=2), 2000
    model = made(spec=spec, classes=0)
    paradigm = infill(name, positions="closed", context=False)  # type: ignore[arg-type]
    context, law = torch.tensor([[0, 1], [1, 1]]), []
    for width in [2] if fit else [1, 2]:
        codes = torch.tensor(list(itertools.product(range(2), repeat=2 * width))).view(-1, width, 2)
        ones = torch.ones(len(codes), dtype=torch.int64)
        values = torch.cat([context[:1].expand(len(codes), 1, 2), codes, context[1:].expand(len(codes), 1, 2)], dim=1)
        x = Tokens(torch.nn.functional.pad(values, (0, 0, 0, 3 - width)), spec.grid, (2 + width) * ones)
        row = paradigm.arrange(x, model, Spans(ones[:, None], width * ones[:, None]))
        if fit:  # END is no choice where the length is known
            never, weights = torch.zeros_like(row.ending), row.weights.masked_fill(row.targets == 2, 0)
            row = replace(row, ending=never, targets=row.targets.masked_fill(row.targets == 2, 0), weights=weights)
        with torch.inference_mode():
            law.append((-width * paradigm.loss(model, row, condition_of(model, -ones))).exp())
    expected = torch.cat(law)
    if fit:
        torch.testing.assert_close(expected.sum(), torch.tensor(1.0, dtype=torch.float64))
    else:
        expected = torch.cat([expected, 1 - expected.sum(0, keepdim=True)])
    known = torch.tensor([[0, 1], [0, 0], [0, 0], [1, 1], [0, 0]] if fit else [[0, 1], [0, 0], [1, 1], [0, 0], [0, 0]])
    keep = torch.tensor([1, 0, 0, 1, 1] if fit else [1, 0, 1, 1, 1])
    last = sample(
        paradigm, model, PLAIN if fit else free(), labels=torch.full((count,), -1), draws=draws(count),
        known=known.expand(count, 5, 2), keep=(keep > 0).expand(count, 5),
        lengths=torch.full((count,), 4 if fit else 3),
    )[-1]  # fmt: skip
    actual = (last.tokens[:, 1:3].flatten(1) * 2 ** torch.tensor([3, 2, 1, 0])).sum(1)
    if not fit:
        short = (last.tokens[:, 1] * 2 ** torch.tensor([1, 0])).sum(1)
        actual = torch.where(last.lengths == 3, short, torch.where(last.lengths == 4, 4 + actual, 20))
    seen = actual.bincount(minlength=len(expected))
    statistic = float(((seen - count * expected) ** 2 / (count * expected)).sum())
    assert statistic < chi2.ppf(1 - 1e-4, len(expected) - 1)


@torch.inference_mode()
def test_passes_are_those_of_the_longest_row() -> None:
    """A pass a step; a header costs none of its own."""
    model, known = made(), tokens(None).values
    keep = torch.ones(5, 9, dtype=torch.bool)
    keep[:, 2:5], keep[0, 7] = False, False
    for name, passes in (("parallel", 3 + 1), ("delay", 4 + 2), ("flat", 6 + 2)):
        states = sample(infill(name), model, known=known, keep=keep)  # type: ignore[arg-type]
        assert states[-1].forward_passes == len(states) - 1 == passes


def test_without_anything_given_all_is_one_hole() -> None:
    last = sample(infill(), made())[-1]
    assert last.committed.all() and last.tokens.shape == (5, 9, 2) and last.lengths is None
    shorter = sample(infill(positions="closed"), made(), free())[-1]
    assert (shorter.lengths <= 9).all() and (shorter.lengths >= 1).all() and len(shorter.lengths.unique()) > 1


def test_categorical_tokens_are_filled_too() -> None:
    spec = TokenSpec("categorical", 5, (1, 3, 3))
    model, known = made(spec=spec), torch.zeros(5, 9, dtype=torch.int64)
    last = sample(infill(), model, known=known, keep=keeps())[-1]
    assert last.tokens.shape == (5, 9) and torch.equal(last.tokens[keeps()], known[keeps()]) and last.tokens.any()
    loss = infill().losses(model, Tokens(known, spec.grid), condition_of(model, LABELS), draws(5))["infill"]
    assert loss.isfinite().all()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: SpanInfill(least=2, most=1), "least must be 0 or more"),
        (lambda: SpanInfill(longest=0), "longest 0 must be at least 1"),
        (lambda: sample(infill(), made(paradigm=SpanInfill())), "needs its part 'end'"),
        (lambda: sample(infill(), made(paradigm=CodebookAutoregressive(ends=True))), "needs its part 'sentinel'"),
        (
            lambda: infill().corrupt(tokens(), generator(SPEC, positions="learned"), draws(5)),
            "learned table of positions",
        ),
        (lambda: sample(infill(), made(), free()), "under positions 'original' the gap tells"),
        (lambda: sample(SpanInfill(positions="closed"), made(), free()), "needs an END"),
        (
            lambda: sample(infill(most=2), made(), known=tokens().values, keep=keeps()),
            "row 0 has 3 holes and the model fills up to 2 at once",
        ),
        (lambda: sample(infill(), made(), SampleOptions(parallel_blocks=2)), "parallel_blocks 2 is for blocks"),
    ],
)
def test_what_cannot_be_is_refused(run, words: str) -> None:
    with pytest.raises(UserError, match=words):
        run()
