import io

import pytest
from rich.console import Console

from mmgen.apps.demo.demo import Stage
from mmgen.apps.demo.timer import StageTimer, estimate, set_up_seconds

ONE, TWO, THREE = (Stage(*each, []) for each in (("one", "First", 10), ("two", "Second", 20), ("three", "Third", 40)))


class Clock:
    """Goes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def timer_of(clock: Clock, minutes: float = 60, gone: float = 0) -> tuple[StageTimer, io.StringIO]:
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    return StageTimer([ONE, TWO, THREE], clock.now + 60 * minutes, gone, console, clock), printed


def test_the_time_left_is_scaled_by_the_pace_of_this_machine_where_it_was_not_measured() -> None:
    clock = Clock()
    timer, printed = timer_of(clock)
    assert timer.left == 70
    with timer.stage(ONE):
        clock.now += 30
    assert (timer.pace, timer.left, timer.gone) == (3, 3 * 60, 30)
    timer.expect("two", 25)
    assert timer.left == 25 + 3 * 40
    with timer.stage(TWO):
        clock.now += 500  # it tells nothing of the others: its time was planned, not scaled
    assert timer.left == 3 * 40
    second = "2/3  Second  · 30 s gone, about 2.5 min left"
    for line in ("1/3  First  · about 1 min in all", "done in 30 s", second):
        assert line in printed.getvalue()


def test_a_stage_that_found_its_work_done_tells_nothing_of_the_pace() -> None:
    clock = Clock()
    timer, _ = timer_of(clock)
    for stage, seconds in ((ONE, 30), (TWO, 0.1)):
        with timer.stage(stage):
            clock.now += seconds
    assert timer.left == 3 * 40


def test_what_an_earlier_session_finished_takes_no_time() -> None:
    timer, printed = timer_of(Clock(), gone=100)
    timer.skip(TWO)
    assert (timer.left, timer.gone) == (50, 100)
    assert "2/3  Second  · done by the interrupted demo" in printed.getvalue()
    assert timer_of(Clock(), minutes=0.5)[0].left == 30  # never more than there is time for


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "5 s"), (12, "10 s"), (54, "55 s"), (58, "1 min"), (100, "1.5 min"), (430, "7 min"), (700, "12 min")],
)
def test_estimates_claim_no_precision(seconds: float, text: str) -> None:
    assert estimate(seconds) == text


@pytest.mark.parametrize(
    ("started", "seconds"), [("880", 120), (None, 0), ("", 0), ("soon", 0), ("2000", 0), (str(1000 - 2 * 86_400), 0)]
)
def test_the_set_up_counts_if_its_beginning_is_known(started: str | None, seconds: float) -> None:
    assert set_up_seconds(started, 1000.0) == seconds
