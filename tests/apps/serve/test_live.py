"""What a sampler yields and reports, in order; and when a picture is due."""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from mmgen.core.errors import UserError
from mmgen.sampling import live
from mmgen.sampling.live import Pace, with_progress


def counting(report: Callable[[float], None]) -> Iterator[str]:
    for number in range(3):
        report(number / 2)
        yield f"part {number}"


def test_parts_and_reports_come_in_the_order_in_which_they_happen() -> None:
    assert list(with_progress(counting)) == [0.0, "part 0", 0.5, "part 1", 1.0, "part 2"]


def test_a_mistake_is_raised_where_the_results_are_awaited() -> None:
    def refuse(report: Callable[[float], None]) -> Iterator[str]:
        yield "first"
        raise UserError("no more")

    parts = with_progress(refuse)
    assert next(parts) == "first"
    with pytest.raises(UserError, match="no more"):
        next(parts)


def test_a_mistake_before_the_first_part_is_raised_too() -> None:
    def refuse(report: Callable[[float], None]) -> Iterator[str]:
        raise UserError("not at all")

    with pytest.raises(UserError, match="not at all"):
        next(with_progress(refuse))


def test_a_sampler_ends_when_nobody_waits_any_more() -> None:
    ended = threading.Event()

    def endless(report: Callable[[float], None]) -> Iterator[int]:
        try:
            while True:
                time.sleep(0.001)
                report(0.5)
        finally:
            ended.set()
        yield 0

    parts = with_progress(endless)
    assert next(parts) == 0.5
    parts.close()
    assert ended.wait(5)


def test_a_slow_picture_makes_the_next_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own, since a busy machine takes its time."""
    now = 10.0
    monkeypatch.setattr(live, "time", SimpleNamespace(perf_counter=lambda: now))
    pace = Pace(0.001)
    assert pace.due()
    now += 0.05
    pace.drawn()
    now += 0.05
    assert not pace.due()
    now += 0.1
    assert pace.due()
    always = Pace(0)
    assert always.due()
    always.drawn()
    assert always.due()
