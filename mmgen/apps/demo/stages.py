"""Numbered stages with an honest account of the time that is gone and left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from mmgen.page.page import duration

_IDLE = 1.0  # seconds


@dataclass(frozen=True)
class Stage:
    """One of them.

    Args:
        key: names it in code.
        title: what it does, for people.
        seconds: that it takes on the two cores of our reference machine.
    """

    key: str
    title: str
    seconds: float


class Walk:
    """Goes through stages and tells the time.

    What is left is the sum of the stages' reference times, scaled by how this machine did in the stages before; a stage
    whose time was measured here counts as measured.

    Args:
        stages: in order.
        end: clock time at which all of it should be over; nothing is expected to take longer.
        gone: seconds of this demo before the walk began.
        console: where to tell.
        clock: seconds, ever rising.

    Attributes:
        begun: what the clock would have said at the beginning, had there been no pause.
    """

    def __init__(
        self, stages: list[Stage], end: float, gone: float, console: Console, clock: Callable[[], float] = time.time
    ) -> None:
        self.stages, self.end, self.console, self.clock = stages, end, console, clock
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
        known = [stage for stage in self.stages if stage.key in worked]
        reference = sum(stage.seconds for stage in known)
        return sum(self._taken[stage.key] for stage in known) / reference if reference else 1.0

    def expect(self, key: str, seconds: float) -> None:
        """A stage's time, measured on this machine."""
        self._expected[key] = seconds

    def needs(self, *keys: str) -> float:
        """Seconds that stages will take here."""
        return sum(
            self._expected.get(stage.key, self.pace * stage.seconds) for stage in self.stages if stage.key in keys
        )

    @property
    def left(self) -> float:
        """Seconds until the end of the last stage."""
        open_ = [stage.key for stage in self.stages if stage.key not in self._passed]
        return self.needs(*open_) if self._expected else min(self.needs(*open_), max(0.0, self.end - self.clock()))

    @contextmanager
    def stage(self, key: str) -> Iterator[None]:
        """A stage from its headline to the time that it took."""
        self._headline(
            key,
            f"{duration(self.gone)} gone, about {rough(self.left)} left"
            if self.gone >= 1
            else f"about {rough(self.left)} in all",
        )
        begun = self.clock()
        yield
        self._taken[key] = self.clock() - begun
        self._passed.add(key)
        self.tell(f"done in {duration(self._taken[key])}")

    def tell(self, text: str) -> None:
        """A remark on the stage."""
        self.console.print(f"     {text}", style="dim", highlight=False)

    def skip(self, key: str) -> None:
        """A stage that an earlier session has finished."""
        self._passed.add(key)
        self._headline(key, "kept from the interrupted demo")

    def _headline(self, key: str, time_told: str) -> None:
        number = [stage.key for stage in self.stages].index(key) + 1
        title = self.stages[number - 1].title
        self.console.print(f"\n[bold]{number}/{len(self.stages)}  {title}[/]  [dim]· {time_told}[/]", highlight=False)


def rough(seconds: float) -> str:
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
