"""Signals that end a command: what a scheduler, a container or a closed terminal sends ends it as Ctrl-C does."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NAMES = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminal closed"}
ENDING = {number: text for name, text in _NAMES.items() if (number := getattr(signal, name, None)) is not None}
"""Each signal that ends a command, and the word for it."""

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_PARENT = "MMGEN_PARENT"  # environment variable: process whose end is that of the processes it starts

Handler = Callable[[int, FrameType | None], None]


class Interrupted(KeyboardInterrupt):
    """A signal has ended the command. Whatever cleans up after Ctrl-C cleans up after it.

    Args:
        number: of the signal.
        advice: how to go on, if there is a way.
    """

    def __init__(self, number: int = signal.SIGINT, *advice: str) -> None:
        super().__init__(*advice)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As shells say it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        return "; ".join([ENDING.get(signal.Signals(self.number), "interrupted"), *map(str, self.args)])


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Handler that ends the command where it is."""
    raise Interrupted(number)


def interrupted_by(error: KeyboardInterrupt) -> Interrupted:
    """The same interruption with the signal that it came from."""
    return error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT, *map(str, error.args))


@contextmanager
def handle_signals(handler: Handler) -> Iterator[None]:
    """In here, signals that end a command call the handler. Those that are ignored (`nohup`, a job in the background)
    stay ignored; threads other than the main one change nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    mine = [number for number, old in before.items() if old is not signal.SIG_IGN]
    try:
        for number in mine:
            signal.signal(number, handler)
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number] or signal.SIG_DFL)


def end_with_parent() -> None:
    """Let the system kill this process when the one that started it ends, also where that one was killed. Linux can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def claim_children() -> None:
    """Mark this process as the one that commands which it starts end with (`end_with_claimant`)."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_claimant() -> None:
    """In a command that another command of mmgen started as one of its ranks: end when that one does."""
    if os.environ.get(_PARENT) == str(os.getppid()):
        end_with_parent()
