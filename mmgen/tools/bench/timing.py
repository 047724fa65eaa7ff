"""Time and memory of contenders that run in turn, so that a slow minute of the machine is slow for all of them."""

import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

DISTURBED = 0.05  # share of the machine that others took in a run, from which it does not count
PATIENCE = 2  # rounds at most, for each that has to count
LEAST = 0.5  # seconds a run, in which a quick contender is called many times; clocks of processes tick every 0.01 s
# Until a piece as large as this was freed once, the C library returns large pieces to the system at once and fetches
# them again. Any training has passed that point; a benchmark begins behind it too.
_PIECE = 31 << 20

Contender = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """One run.

    Attributes:
        seconds: a call.
        disturbance: share of the machine's processors, 0 to 1, that other processes and other guests took meanwhile.
    """

    seconds: float
    disturbance: float = 0.0


Stopwatch = Callable[[Contender, int], Sample]
"""Calls a contender so many times, one after the other."""


@dataclass(frozen=True)
class Comparison:
    """The rounds that count: in each, every contender ran once.

    Attributes:
        rounds: seconds a call, by contender.
        disturbed: rounds that were set aside.
        noisy: rounds that count though they were disturbed, because too few were quiet.
    """

    rounds: list[dict[str, float]]
    disturbed: int = 0
    noisy: int = 0

    def median(self, contender: str) -> float:
        """Seconds a call."""
        return statistics.median(each[contender] for each in self.rounds)

    def ratio(self, one: str, other: str) -> float:
        """The time of one over that of the other: the median over rounds of the ratio in each."""
        return statistics.median(each[one] / each[other] for each in self.rounds)

    def counts(self) -> dict[str, int]:
        """Rounds that count, those set aside, and those that count though they were disturbed."""
        return {"runs": len(self.rounds), "disturbed": self.disturbed, "noisy": self.noisy}


def compare(
    contenders: Mapping[str, Contender],
    runs: int = 7,
    device: torch.device | None = None,
    least: float = LEAST,
    stopwatch: Stopwatch | None = None,
) -> Comparison:
    """Run contenders in turn, each round beginning with another one, until enough rounds were quiet.

    A round in which others took more than 5% of the machine is set aside; where too few are quiet after twice as
    many rounds, the quietest count.

    Args:
        contenders: by name.
        runs: rounds that have to count.
        device: where they run; a GPU is timed by its own events.
        least: seconds a run; quicker contenders are called several times.
        stopwatch: what times them; that of the device by default.
    """
    watch = stopwatch or stopwatch_for(device or torch.device("cpu"))
    torch.empty(_PIECE, dtype=torch.uint8)
    names = list(contenders)
    calls = {}
    for name in names:  # the first call builds and compiles, the second shows how long one is
        watch(contenders[name], 1)
        calls[name] = max(1, math.ceil(least / max(watch(contenders[name], 1).seconds, 1e-9)))
    rounds: list[dict[str, Sample]] = []
    while sum(_disturbance(each) <= DISTURBED for each in rounds) < runs and len(rounds) < PATIENCE * runs:
        first = len(rounds) % len(names)
        gc.collect()
        rounds.append({name: watch(contenders[name], calls[name]) for name in names[first:] + names[:first]})
    rounds.sort(key=_disturbance)
    quietest = rounds[:runs]
    noisy = sum(_disturbance(each) > DISTURBED for each in quietest)
    return Comparison(
        [{n: s.seconds for n, s in each.items()} for each in quietest], len(rounds) - len(quietest), noisy
    )


def _disturbance(one_round: dict[str, Sample]) -> float:
    return max(sample.disturbance for sample in one_round.values())


def stopwatch_for(device: torch.device) -> Stopwatch:
    """That of a device."""
    return _cuda if device.type == "cuda" else _wall


def _wall(contender: Contender, calls: int) -> Sample:
    others = _others()
    start = time.perf_counter()
    for _ in range(calls):
        contender()
    seconds = time.perf_counter() - start
    share = 0.0 if others is None else max(0.0, (_others() or others) - others) / seconds / (os.cpu_count() or 1)
    return Sample(seconds / calls, share)


def _others() -> float | None:
    """Processor seconds that other processes and guests have taken since the machine started; None without psutil."""
    with suppress(ImportError):
        import psutil

        all_, own = psutil.cpu_times(), psutil.Process().cpu_times()
        busy = sum(all_) - all_.idle - getattr(all_, "iowait", 0.0) - getattr(all_, "guest", 0.0)
        return busy - own.user - own.system
    return None


def _cuda(contender: Contender, calls: int) -> Sample:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(calls):
        contender()
    end.record()
    torch.cuda.synchronize()
    return Sample(begin.elapsed_time(end) / 1e3 / calls)


def peak_mebibytes(call: Contender, device: torch.device) -> float:
    """MiB that tensors take at the most while `call` runs, besides what was there before."""
    call()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
    results: Any = profiled.profiler.kineto_results
    changes = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    return max(accumulate(each for _, each in sorted(changes)), default=0) / 2**20
