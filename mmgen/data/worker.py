"""A loading process: it ends with the process that it loads for, neither later nor earlier."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from mmgen.core.interruption import ENDING, end_with_parent

SHARED_MEMORY = Path("/dev/shm")
_FULL = ("Bus error", "No space left on device", "unable to allocate shared memory", "out of shared memory")


def start_worker(number: int) -> None:
    """What a worker of torch's loader does first."""
    end_with_parent()
    signal.signal(signal.SIGBUS, signal.SIG_DFL)  # the parent reports it: `lost_worker`
    if hasattr(signal, "sigwaitinfo"):  # macOS lacks it
        # Ctrl-C, and the SIGTERM of many schedulers, goes to all processes of a run. What it means is up to the parent,
        # which may want the rest of a step.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        threading.Thread(target=_await_parent, daemon=True).start()
    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def lost_worker(error: BaseException | None) -> str | None:
    """What became of a loading process, and what to do about it, if an error says that one is lost; otherwise None."""
    texts = [str(each) for each in _chain(error) if "DataLoader worker" in str(each)]
    if not texts:
        return None
    here = "or load in this process: --data.num_workers 0"
    if any("Killed" in text for text in texts):
        return f"a loading process was killed, as systems do where memory is short: use fewer workers, {here}"
    about = os.statvfs(SHARED_MEMORY) if SHARED_MEMORY.exists() else None
    size = "" if about is None else f" ({SHARED_MEMORY} has {about.f_blocks * about.f_frsize / 2**20:,.1f} MiB)"
    surely = any(word in text for word in _FULL for text in texts)
    what = "ran out of shared memory" if surely else "ended unexpectedly, as for want of shared memory"
    return f"a loading process {what}{size}: give it more (docker run --shm-size), {here}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _await_parent() -> None:
    """Ends when the parent says so."""
    parent = multiprocessing.parent_process()
    while parent is not None:
        about = signal.sigwaitinfo(ENDING)
        if about.si_pid == parent.pid and about.si_signo == signal.SIGTERM:
            os._exit(0)


def _end(error: Exception, item: Any) -> None:
    """A batch that cannot be handed over would be waited for for ever: end as for want of shared memory, of which this
    is another sign.
    """
    os.kill(os.getpid(), signal.SIGBUS)
