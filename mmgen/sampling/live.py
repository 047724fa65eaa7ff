"""Results while they are made: when to draw one, and how a sampler is watched between two of them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

import torch
from torch import Tensor

from mmgen.paradigms import State
from mmgen.sampling.pieces import Piece
from mmgen.sampling.samples import SamplingTask

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


@dataclass(frozen=True, eq=False)
class Moment:
    """How far samples are: `values` (B, C, t, ...) are all that is finished, None before anything is, and `newest` the
    last piece of it, which has just come where `fresh`; `progress` is 0 to 1, `steps` are those of the sampler,
    `seconds` since it began; `due` says whether to draw now.
    """

    values: Tensor | None
    newest: Piece | None
    fresh: bool
    progress: float
    steps: int
    seconds: float
    due: bool

    @property
    def state(self) -> State | None:
        """Of the sampler, when the newest piece was finished."""
        return None if self.newest is None else self.newest.state


def watch(task: SamplingTask, stream: Callable[[SamplingTask], Iterator[Piece]], every: float) -> Iterator[Moment]:
    """What is finished of a task of one batch after each step of the sampler, and with each new piece of `stream`;
    pictures are due every so many seconds at most, 0 for all.
    """
    pace, began, steps, progress = Pace(every), time.perf_counter(), 0, 0.0
    values, newest = None, None
    for part in with_progress(lambda report: stream(replace(task, progress=report))):
        if fresh := isinstance(part, Piece):
            values, newest = part.values if values is None else torch.cat([values, part.values], dim=2), part
        else:
            progress, steps = part / task.count, steps + 1
        due = pace.due()
        yield Moment(values, newest, fresh, progress, steps, time.perf_counter() - began, due)
        if due:
            pace.drawn()


class Abandoned(Exception):
    """Raised within a sampler whose results nobody wants any more."""


def with_progress(make: Callable[[Callable[[float], None]], Iterator[Part]]) -> Iterator[float | Part]:
    """What the iterator that `make` makes from a callback yields and, in between, what it reports to the callback, in
    the order in which they happen. It runs in a thread of its own, and is ended where this one is closed.
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
