"""Patterns lay codes out in steps, and back again, for any numbers of frames and levels."""

import itertools

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.patterns import ABSENT, Pattern

NAMES = ("flat", "parallel", "delay", "coarse_first")
SHAPES = list(itertools.product(range(1, 6), range(1, 5)))
PATTERNS = [(name, None) for name in NAMES] + [("delay", (0, 0, 3, 3)), ("coarse_first", (0, 0, 1, 4))]
everything = pytest.mark.parametrize(("name", "delays"), PATTERNS, ids=str)


def made(name: str, levels: int, delays: tuple[int, ...] | None) -> Pattern:
    return Pattern(name, levels, delays and delays[:levels])  # type: ignore[arg-type]


@everything
@pytest.mark.parametrize("end", [False, True])
def test_each_code_has_one_place_and_END_one_behind_the_last_frame(
    name: str, delays: tuple[int, ...] | None, end: bool
) -> None:
    for frames, levels in SHAPES:
        pattern = made(name, levels, delays)
        count = pattern.count(frames, end)
        table = pattern.at(torch.arange(-2, count + 3), frames, end)
        assert (table[:2] == ABSENT).all() and (table[-3:] == ABSENT).all()
        table = table[2:-3]
        assert (table[-1] != ABSENT).any() or frames == 0
        places = pattern.place(torch.arange(frames), frames, end)
        for frame, level in itertools.product(range(frames), range(levels)):
            assert (table[:, level] == frame).nonzero().tolist() == [[places[frame, level]]]
        assert int((table[:, 0] == frames).sum()) == end and not (table[:, 1:] == frames).any()


@everything
def test_a_code_never_comes_before_a_coarser_one_of_its_frame_or_an_earlier_one_of_its_level(
    name: str, delays: tuple[int, ...] | None
) -> None:
    places = made(name, 4, delays).place(torch.arange(6), 6, True)
    assert (places.diff(dim=1) >= 0).all() and (places.diff(dim=0) > 0).all()


@everything
def test_rows_of_many_lengths_have_the_tables_of_each(name: str, delays: tuple[int, ...] | None) -> None:
    pattern, lengths = made(name, 3, delays), torch.tensor([4, 0, 1, 7])
    steps, end = torch.arange(pattern.count(7, True)), torch.tensor([True, False, False, True])
    together = pattern.at(steps[None], lengths[:, None], end[:, None])
    for row, (length, ending) in enumerate(zip(lengths.tolist(), end.tolist(), strict=True)):
        assert torch.equal(together[row], pattern.at(steps, length, ending))
        assert int(pattern.steps(lengths, end)[row]) == pattern.count(length, ending)
    if pattern.nested:
        short, long = together[0], together[3]
        assert torch.equal(short[short != ABSENT], long[short != ABSENT])


@everything
def test_a_prompt_of_frames_fills_a_beginning(name: str, delays: tuple[int, ...] | None) -> None:
    """The codes of the first frames are all that the steps before the first unknown code hold, level by level."""
    pattern, frames, prompt = made(name, 3, delays), 6, 2
    table = pattern.at(torch.arange(pattern.count(frames)), frames)
    for level in range(3):
        held = table[:, level][table[:, level] != ABSENT]
        assert held.tolist() == list(range(frames)) and held[:prompt].tolist() == list(range(prompt))


def test_patterns_as_they_are_drawn_in_the_paper() -> None:
    frames = {
        "flat": [[0, -1], [-1, 0], [1, -1], [-1, 1], [2, -1], [-1, 2]],
        "parallel": [[0, 0], [1, 1], [2, 2]],
        "delay": [[0, -1], [1, 0], [2, 1], [-1, 2]],
        "coarse_first": [[0, -1], [1, -1], [2, -1], [-1, 0], [-1, 1], [-1, 2]],
    }
    for name, table in frames.items():
        assert made(name, 2, None).at(torch.arange(len(table)), 3).tolist() == table


def test_a_layout_says_when_and_how_deep_a_step_is() -> None:
    flat = Pattern("flat", 2).layout((3, 1, 1))
    assert flat.position[0, :, 0].tolist() == [0, 0, 1, 1, 2, 2] and flat.level[0].tolist() == [0, 1] * 3
    coarse = Pattern("coarse_first", 3, (0, 0, 1)).layout((2, 1, 1))
    assert coarse.position[0, :, 0].tolist() == [0, 1, 0, 1, 2] and coarse.level[0].tolist() == [0, 0, 1, 1, 1]
    delay = Pattern("delay", 3).layout((1, 2, 2))
    assert delay.position[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1]]
    assert Pattern("delay", 3).layout((1, 2, 2)) is delay  # found again
    for layout in (flat, coarse, delay):
        assert torch.equal(layout.rank[0], torch.arange(layout.length))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pattern("delays", 2), "did you mean 'delay'"),  # type: ignore[arg-type]
        (lambda: Pattern("delay", 3, (0, 2, 1)), "a coarser level after a finer one"),
        (lambda: Pattern("delay", 3, (0, 1)), "2 numbers for 3 levels"),
        (lambda: Pattern("delay", 2, (1, 2)), "must be 0 for the level"),
        (lambda: Pattern("coarse_first", 2, (0, 1)), "must be 0 for the level"),
        (lambda: Pattern("flat", 2, (0, 1)), "'flat' has no delays"),
    ],
)
def test_patterns_that_cannot_be_are_refused(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
