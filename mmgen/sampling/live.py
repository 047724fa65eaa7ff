"""Results while they are made: when to draw one, and how a sampler is watched between two of them."""

import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

Part = TypeVar("Part")

_SHARE = 2.0  # drawing takes at most a third of the time: so many times as long as a picture took, none is drawn


class Pace:
    """Says when the next picture is due, so that drawing never holds up sampling for long.

    Args:
        every: seconds between two pictures at least; 0 draws all.
    """

    def __init__(self, every: float) -> None:
        self.every, self._due, self._began = every, 0.0, 0.0

    def due(self) -> bool:
        """Whether to draw now. Where it says so, `drawn` has to be called afterwards."""
        self._began = time.perf_counter()
        return self.every == 0 or self._began >= self._due

    def drawn(self) -> None:
        """The picture is out."""
        now = time.perf_counter()
        self._due = now + max(self.every, _SHARE * (now - self._began))


class Abandoned(Exception):
    """Raised within a sampler whose results nobody wants any more."""


def with_progress(make: Callable[[Callable[[float], None]], Iterator[Part]]) -> Iterator[float | Part]:
    """What an iterator yields and, in between, what it reports to its callback, in the order in which they happen.

    The iterator runs in a thread of its own, and is ended where this one is closed.

    Args:
        make: makes the iterator, from the callback.
    """
    queue: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    closed = Event()

    def put(value: float | Part) -> None:
        if closed.is_set():
            raise Abandoned
        queue.put(("yielded", value))

    def run() -> None:
        try:
            for part in make(put):
                put(part)
        except Abandoned:
            return
        except BaseException as error:  # it is raised where the results are awaited
            queue.put(("raised", error))
        else:
            queue.put(("ended", None))

    Thread(target=run, daemon=True).start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "ended":
                return
            if kind == "raised":
                raise value
            yield value
    finally:
        closed.set()
