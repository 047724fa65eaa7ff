import io

import pytest
from rich.console import Console

from mmgen.apps.demo.stages import Stage, Walk, rough, set_up_seconds

STAGES = [Stage("one", "The first", 10), Stage("two", "The second", 20), Stage("three", "The third", 40)]


class Clock:
    """Goes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def walk(clock: Clock, minutes: float = 60, gone: float = 0) -> tuple[Walk, io.StringIO]:
    said = io.StringIO()
    return Walk(STAGES, clock.now + 60 * minutes, gone, Console(file=said, width=200), clock), said


def test_the_time_left_is_scaled_by_the_pace_of_this_machine() -> None:
    clock = Clock()
    tour, said = walk(clock)
    assert tour.left == 70
    with tour.stage("one"):
        clock.now += 30
    assert tour.pace == 3
    assert tour.left == 3 * 60
    assert tour.gone == 30
    assert "1/3  The first  · about 1 min in all" in said.getvalue()
    assert "done in 30 s" in said.getvalue()


def test_a_measured_stage_counts_as_measured() -> None:
    clock = Clock()
    tour, said = walk(clock)
    with tour.stage("one"):
        clock.now += 30
    tour.expect("two", 25)
    assert tour.left == 25 + 3 * 40
    with tour.stage("two"):
        clock.now += 500  # it tells nothing of the others: its time was planned, not scaled
    assert tour.left == 3 * 40
    assert "2/3  The second  · 30 s gone, about 2.5 min left" in said.getvalue()


def test_a_stage_that_found_its_work_done_tells_nothing_of_the_pace() -> None:
    clock = Clock()
    tour, _ = walk(clock)
    for key, seconds in (("one", 30), ("two", 0.1)):
        with tour.stage(key):
            clock.now += seconds
    assert tour.left == 3 * 40


def test_what_an_earlier_session_finished_takes_no_time() -> None:
    clock = Clock()
    tour, said = walk(clock, gone=100)
    tour.skip("two")
    assert tour.left == 50
    assert tour.gone == 100
    assert "2/3  The second  · kept from the interrupted demo" in said.getvalue()


def test_before_anything_was_measured_the_budget_bounds_the_expectation() -> None:
    assert walk(Clock(), minutes=0.5)[0].left == 30


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "5 s"), (12, "10 s"), (54, "55 s"), (58, "1 min"), (100, "1.5 min"), (430, "7 min"), (700, "12 min")],
)
def test_estimates_claim_no_precision(seconds: float, told: str) -> None:
    assert rough(seconds) == told


@pytest.mark.parametrize(
    ("started", "seconds"), [("880", 120), (None, 0), ("", 0), ("soon", 0), ("2000", 0), (str(1000 - 2 * 86_400), 0)]
)
def test_the_set_up_counts_if_its_beginning_is_known(started: str | None, seconds: float) -> None:
    assert set_up_seconds(started, 1000.0) == seconds
