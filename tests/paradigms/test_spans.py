"""Rows that are rearranged: their spans, what stands where, and that nothing tells what it predicts."""

import itertools

import pytest
import torch
from torch import Tensor

from mmgen.core.layout import Role
from mmgen.core.patterns import Pattern
from mmgen.paradigms import CodebookAutoregressive, SpanInfill
from mmgen.paradigms.infilling.spans import Spans, draw_spans, holes
from tests.paradigms.spanned import LABELS, LENGTHS, SPANS, infill, keeps, made, names, placings, tokens
from tests.worlds import condition_of, draws

# Spans.


@pytest.mark.parametrize(("least", "most", "longest"), [(0, 3, None), (1, 3, 4), (2, 2, None), (1, 1, 1)])
def test_spans_lie_apart_within_their_rows(least: int, most: int, longest: int | None) -> None:
    count = 3000
    lengths = 1 + torch.arange(count) % 12
    spans = draw_spans(lengths, least, most, longest, draws(count))
    there = torch.arange(most) < spans.count[:, None]
    stop = spans.start + spans.length
    assert torch.equal(there, spans.length > 0)
    assert (spans.start >= 0).all() and (torch.where(there, stop, 0) <= lengths[:, None]).all()
    assert (spans.start[:, 1:] > stop[:, :-1])[there[:, 1:]].all()
    room = (lengths + 1) // 2
    assert (spans.count <= room).all() and (spans.count >= room.clamp_max(least)).all()
    assert spans.length.max() <= (longest or 12)
    whole = draw_spans(torch.full((count,), 12), least, most, longest, draws(count))
    covered = (
        (torch.arange(12)[:, None, None] >= whole.start)
        & (torch.arange(12)[:, None, None] < whole.start + whole.length)
    ).any(-1)
    assert covered.double().mean(1).min() > 0.02  # every position is in a span at times
    part = torch.tensor([7, 2])
    again = draw_spans(lengths[part], least, most, longest, draws(count).rows(part))
    assert torch.equal(again.start, spans.start[part]) and torch.equal(again.length, spans.length[part])


def test_the_number_of_spans_is_a_poisson_one_within_bounds() -> None:
    count = 4000
    for least, law in ((0, [0.3679, 0.3679, 0.1839, 0.0803]), (1, [0.0, 0.7358, 0.1839, 0.0803])):
        actual = draw_spans(torch.full((count,), 40), least, 3, None, draws(count)).count.bincount(minlength=4) / count
        assert (actual - torch.tensor(law)).abs().max() < 0.035  # over four standard deviations


def test_holes_are_the_spans_that_are_not_kept() -> None:
    actual = holes(keeps())
    assert torch.equal(actual.start, SPANS.start) and torch.equal(actual.length, SPANS.length)


# The row of training.


def by_hand(name: str, placing: str, codes: Tensor, spans: list[tuple[int, int]], ends: bool) -> list[dict]:
    """One row, piece after piece: the sentinel or the codes that stand at each position, where that is, and the codes
    that are asked for there, END being 3.
    """
    pattern, full = Pattern(name, codes.shape[1]), len(codes)  # type: ignore[arg-type]
    nothing = [None] * codes.shape[1]
    borders = [0, *itertools.chain(*((start, start + length) for start, length in spans)), full]
    context = list(zip(borders[::2], borders[1::2], strict=True))
    pieces = [(begin, stop, number - 1, number == len(spans)) for number, (begin, stop) in enumerate(context)]
    pieces += [(start, start + length, number, True) for number, (start, length) in enumerate(spans)]
    row, done = [], 0
    for begin, stop, sentinel, last in pieces:
        shown_before = sum(min(after, begin) - min(before, begin) for before, after in context)
        origin = {"original": begin, "closed": shown_before, "rearranged": done}[placing]
        if sentinel >= 0:
            mark = spans[sentinel][0] if placing == "original" else origin
            row.append({"sentinel": sentinel, "t": mark, "held": nothing, "asked": nothing})
        length, end = stop - begin, last and ends
        steps = torch.arange(pattern.count(length, end))
        clock = pattern.clock(steps, length, end).tolist()
        for held, t in zip(pattern.at(steps, length, end).tolist(), clock, strict=True):
            codes_here = [int(codes[begin + f, q]) if 0 <= f < length else None for q, f in enumerate(held)]
            predicted = [3 if f == length else code for code, f in zip(codes_here, held, strict=True)]
            row.append({"sentinel": None, "t": origin + t, "held": codes_here, "asked": predicted})
        done += length
    return row


@names
@placings
@pytest.mark.parametrize("ends", [False, True])
def test_a_row_is_as_it_is_told(name: str, placing: str, ends: bool) -> None:
    """Against another way to make it, position by position: inputs, sentinels, places, targets."""
    paradigm = SpanInfill(name, positions=placing, ends=ends)  # type: ignore[arg-type]
    x, model = tokens(), made()
    row = paradigm.arrange(x, model, SPANS)
    for b in range(5):
        spans = [(s, n) for s, n in zip(SPANS.start[b].tolist(), SPANS.length[b].tolist(), strict=True) if n]
        expected = by_hand(name, placing, x.values[b, : LENGTHS[b]], spans, ends)
        own = row.layout.slice(1)
        assert int((own.document[b] >= 0).sum()) == len(expected)
        for place, entry in enumerate(expected):
            held = [
                None if h else v
                for v, h in zip(row.values[b, place].tolist(), row.hidden[b, place].tolist(), strict=True)
            ]
            assert held == entry["held"]
            assert (int(own.role[b, place]) == Role.SENTINEL) == (entry["sentinel"] is not None)
            assert entry["sentinel"] is None or int(own.segment[b, place]) == entry["sentinel"]
            assert int(own.position[b, place, 0]) == entry["t"] and int(own.rank[b, place]) == place
            weights, targets = row.weights[b, place].tolist(), row.targets[b, place].tolist()
            assert [t if w > 0 else None for t, w in zip(targets, weights, strict=True)] == entry["asked"]
        assert not row.weights[b, len(expected) :].any() and row.hidden[b, len(expected) :].all()


@names
def test_every_code_stands_once_and_is_predicted_once(name: str) -> None:
    row = infill(name).arrange(tokens(), made(), SPANS)  # type: ignore[arg-type]
    ends = torch.tensor([3, 1, 2 + 1, 1, 1])  # of spans, and of rows whose end is not in one
    assert torch.equal((~row.hidden).sum((1, 2)), 2 * LENGTHS)
    assert torch.equal((row.weights > 0).sum((1, 2)), 2 * LENGTHS + ends)
    torch.testing.assert_close(row.weights.sum((1, 2)) * LENGTHS, (2 * LENGTHS + ends).double())
    only = infill(name, context=False).arrange(tokens(), made(), SPANS)  # type: ignore[arg-type]
    filled = torch.where(SPANS.length.sum(1) > 0, SPANS.length.sum(1), LENGTHS)
    assert torch.equal((only.weights > 0).sum((1, 2)), 2 * filled + torch.tensor([3, 1, 2, 1, 1]))


@names
@placings
def test_a_row_without_spans_is_that_of_plain_autoregression(name: str, placing: str) -> None:
    model, x = made(), tokens()
    none = Spans(torch.zeros(5, 1, dtype=torch.int64), torch.zeros(5, 1, dtype=torch.int64))
    paradigm = infill(name, least=0, positions=placing)  # type: ignore[arg-type]
    loss = paradigm.loss(model, paradigm.arrange(x, model, none), condition_of(model, LABELS))
    plain = paradigm.modes()["ar"]
    assert isinstance(plain, CodebookAutoregressive) and SpanInfill().modes().keys() == {"infill"}
    torch.testing.assert_close(
        loss, plain.losses(model, x, condition_of(model, LABELS), draws(5))["ar"], rtol=1e-12, atol=1e-12
    )
