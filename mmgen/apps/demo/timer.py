"""Numbered stages with an honest account of the time that is gone and left."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from mmgen.apps.demo.demo import Stage
from mmgen.page.page import duration

_IDLE = 1.0  # seconds


class StageTimer:
    """Goes through stages and tells the time.

    What is left is the sum of the stages' reference times, scaled by how this machine did in the stages before; a stage
    whose time was measured here counts as measured.

    Args:
        stages: in order.
        end: clock time at which all of it should be over; nothing is expected to take longer.
        gone: seconds of this demo before, in earlier sessions.
        console: where to tell.
        clock: seconds, ever rising.
    """

    def __init__(
        self, stages: Sequence[Stage], end: float, gone: float, console: Console, clock: Callable[[], float] = time.time
    ) -> None:
        self.stages, self.end, self.console, self.clock = list(stages), end, console, clock
        self.begun = clock() - gone
        self._expected: dict[str, float] = {}
        self._taken: dict[str, float] = {}
        self._passed: set[str] = set()

    @property
    def gone(self) -> float:
        """Seconds of this demo so far."""
        return self.clock() - self.begun

    @property
    def pace(self) -> float:
        """How long this machine takes for what takes the reference machine one second."""
        # A stage that found its work done, such as one with a cache, tells nothing.
        worked = {key for key, seconds in self._taken.items() if seconds > _IDLE and key not in self._expected}
        known = [stage for stage in self.stages if stage.name in worked]
        reference = sum(stage.seconds for stage in known)
        return sum(self._taken[stage.name] for stage in known) / reference if reference else 1.0

    def expect(self, name: str, seconds: float) -> None:
        """A stage's time, measured on this machine."""
        self._expected[name] = seconds

    def needed(self, *names: str) -> float:
        """Seconds that stages will take here."""
        return sum(
            self._expected.get(stage.name, self.pace * stage.seconds) for stage in self.stages if stage.name in names
        )

    @property
    def left(self) -> float:
        """Seconds until the end of the last stage."""
        open_ = [stage.name for stage in self.stages if stage.name not in self._passed]
        return self.needed(*open_) if self._expected else min(self.needed(*open_), max(0.0, self.end - self.clock()))

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """A stage from its headline to the time that it took."""
        about = f"about {estimate(self.left)}"
        self._headline(stage, f"{duration(self.gone)} gone, {about} left" if self.gone >= 1 else f"{about} in all")
        begun = self.clock()
        yield
        self._taken[stage.name] = self.clock() - begun
        self._passed.add(stage.name)
        self.remark(f"done in {duration(self._taken[stage.name])}")

    def remark(self, text: str) -> None:
        """On the stage."""
        self.console.print(f"     {text}", style="dim", highlight=False, markup=False)

    def skip(self, stage: Stage) -> None:
        """A stage that an earlier session has finished."""
        self._passed.add(stage.name)
        self._headline(stage, "done by the interrupted demo")

    def _headline(self, stage: Stage, time_text: str) -> None:
        number = self.stages.index(stage) + 1
        self.console.print(
            f"\n[bold]{number}/{len(self.stages)}  {stage.title}[/]  [dim]· {time_text}[/]", highlight=False
        )


def estimate(seconds: float) -> str:
    """A time that is only estimated, no more precisely than it deserves."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min" if seconds >= 570 else f"{round(seconds / 30) / 2:g} min"


def set_up_seconds(started: str | None, now: float) -> float:
    """Seconds since the set-up before the demo began; 0 where nobody noted it, or not today.

    Args:
        started: the time in seconds since 1970, as `date +%s` writes it.
        now: the same, now.
    """
    try:
        passed = now - float(started or "")
    except ValueError:
        return 0.0
    return passed if 0 <= passed < 86_400 else 0.0
