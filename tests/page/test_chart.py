import re

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mmgen.page.chart import BOTTOM, LABEL, LEFT, RIGHT, TOP, Curve, chart, round_ticks, separate_labels, smoothed

finite = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(finite, finite)
def test_ticks_are_round_and_hold_the_range(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assume(high - low > 1e-6 * max(abs(low), abs(high)) or low == high)
    ticks = round_ticks(low, high)
    slack = 1e-6 * (ticks[1] - ticks[0])
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + slack
    assert high - slack <= ticks[-1]


@given(st.lists(st.floats(TOP, BOTTOM), min_size=1, max_size=6))
def test_labels_keep_their_order_and_their_distance(heights: list[float]) -> None:
    placed = separate_labels({str(number): height for number, height in enumerate(heights)})
    ordered = sorted(placed, key=lambda name: placed[name])
    assert [heights[int(name)] for name in ordered] == sorted(heights)
    gaps = [placed[b] - placed[a] for a, b in zip(ordered, ordered[1:])]
    assert all(gap >= LABEL - 1e-9 for gap in gaps)
    assert max(placed.values()) <= BOTTOM


@given(st.lists(finite, min_size=1, max_size=500))
def test_a_smoothed_line_ends_at_the_last_step_within_the_values(values: list[float]) -> None:
    line = smoothed(list(enumerate(values)))
    assert line[-1][0] == len(values) - 1
    assert len(line) <= 200
    assert all(min(values) - 1e-3 <= value <= max(values) + 1e-3 for _, value in line)
    few = list(enumerate(values[:90]))
    assert [value for _, value in smoothed(few)] == pytest.approx(values[:90], abs=1e-6)


def test_a_chart_draws_within_its_axes_and_tells_where_lines_end() -> None:
    steps = torch.arange(10, 1000, 10).tolist()
    falling = [(step, 9 * 0.99**step + 1) for step in steps]
    drawn = chart(Curve("A <run>: nats", {"ar": falling}, {"held out": [(500, 1.5), (990, 1.25)]}, {"ar": "blue"}))
    assert "A &lt;run&gt;: nats, over 990 steps: ar ends at 1; held out ends at 1.25." in drawn
    path = re.search(r'class="line blue" points="([^"]*)"', drawn)
    assert path is not None
    for point in path[1].split():
        x, y = map(float, point.split(","))
        assert LEFT <= x <= RIGHT
        assert TOP <= y <= BOTTOM
    assert 'class="line between grey"' in drawn  # held-out points alone
    assert drawn.count("<circle") == 2


def test_frames_are_counted_in_whole_numbers() -> None:
    points = [(float(frame), 1.0 + frame) for frame in range(5, 13)]
    drawn = chart(Curve("Run", {}, {"copy": points}, {}, "frames", {4.0: "predicted"}))
    assert re.findall(r'text-anchor="middle">([^<]*)<', drawn) == ["0", "5", "10"]
    assert ">frames<" in drawn
    mark = re.search(r'class="mark" x1="([^"]*)"', drawn)
    assert mark is not None
    assert float(mark[1]) == pytest.approx(LEFT + (RIGHT - LEFT) * 4 / 12, abs=0.1)
    assert ">predicted<" in drawn
