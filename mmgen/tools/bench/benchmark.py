"""What a benchmark is, and the catalogue in which each file of this package puts its own."""

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from typing import Any

import torch

from mmgen.core.errors import UserError, nearest
from mmgen.tools.bench.timing import Comparison


@dataclass(frozen=True)
class Conditions:
    """Under which a benchmark runs.

    Args:
        device: where it runs, with `torch.get_num_threads()` threads on a CPU.
        runs: rounds that count, of each of which a figure is a median.
        tiny: the smallest sizes and one round: what is asserted, and no figure worth reading. For tests.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    runs: int = 7
    tiny: bool = False

    def size(self, full: int, tiny: int) -> int:
        """A size of the benchmark, or the small one that stands for it in tests."""
        return tiny if self.tiny else full


@dataclass(frozen=True)
class Result:
    """One figure beside a peer's.

    Attributes:
        name: of the benchmark, and what it was measured on: `decode/8/x-transformers`.
        ours: our figure, the median over the runs.
        peer: the other one's, of the same runs.
        unit: of both: `tokens/s`, `ms`, `MiB`, ..
        ratio: how many times better ours is: 2 is twice as fast, or half the memory. The median over the runs of the
            ratio in each.
        goal: the least ratio that is good enough; None where the figure is for information.
        limit_share: our share of what the machine could do, in (0, 1]; None where it was not measured.
        device: in words.
        settings: shapes, dtype, threads, the peer and its version, runs that counted and disturbed ones.
        more: further figures, by name with the unit.
    """

    name: str
    ours: float
    peer: float
    unit: str
    ratio: float
    goal: float | None
    limit_share: float | None
    device: str
    settings: dict[str, Any]
    more: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else self.ratio >= self.goal

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)


Run = Callable[[Conditions], Iterator[Result]]


@dataclass(frozen=True)
class Benchmark:
    """A named benchmark.

    Attributes:
        name: on the command line.
        sentence: what is compared with what, in one sentence.
        needs: packages to be installed, by the names they are installed by.
        run: asserts that both sides do the same, then yields the results.
    """

    name: str
    sentence: str
    needs: tuple[str, ...]
    run: Run

    def missing(self) -> list[str]:
        """The packages among `needs` that are not installed."""
        return [package for package in self.needs if version(package) is None]


_CATALOGUE: dict[str, Benchmark] = {}


def register(name: str, sentence: str, needs: tuple[str, ...] = ()) -> Callable[[Run], Run]:
    """Put a function into the catalogue as a benchmark; arguments as for `Benchmark`."""

    def add(run: Run) -> Run:
        if name in _CATALOGUE:
            raise ValueError(f"two benchmarks are called {name!r}")
        _CATALOGUE[name] = Benchmark(name, sentence, needs, run)
        return run

    return add


def catalogue() -> dict[str, Benchmark]:
    """All benchmarks by name, those of every file of this package."""
    package = import_module("mmgen.tools.bench")
    for module in pkgutil.iter_modules(package.__path__, "mmgen.tools.bench."):
        import_module(module.name)
    return dict(sorted(_CATALOGUE.items()))


def find(name: str) -> Benchmark:
    """One of the catalogue. Raises UserError naming the nearest."""
    known = catalogue()
    if name not in known:
        raise UserError(f"there is no benchmark {name!r}{nearest(name, known)} (mmgen bench --list names them)")
    return known[name]


def version(package: str) -> str | None:
    """Of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def result(
    conditions: Conditions,
    name: str,
    measured: Comparison,
    peer: str,
    *,
    ours: str = "ours",
    work: float | None = None,
    unit: str = "ms",
    goal: float | None = None,
    limit: str | None = None,
    package: str | None = None,
    settings: dict[str, Any] | None = None,
    more: dict[str, float] | None = None,
) -> Result:
    """The result of a comparison of times.

    Args:
        conditions: it was measured under.
        name: of the result.
        measured: the times.
        peer: the contender that ours is compared with.
        ours: our contender.
        work: units of work in a run, for a rate such as tokens/s; None for a time in ms.
        unit: of the figures.
        goal: the least ratio.
        limit: the contender that does only what no code could leave out: its time over ours is our share of the limit.
        package: of the peer, whose version is told.
        settings: shapes and dtype.
        more: further figures.
    """
    seconds = measured.median(ours), measured.median(peer)
    figures = [1e3 * each if work is None else work / each for each in seconds]
    told = {"peer": peer} | ({} if package is None else {"version": version(package)}) | (settings or {})
    return Result(
        name=name,
        ours=figures[0],
        peer=figures[1],
        unit=unit,
        ratio=measured.ratio(peer, ours),
        goal=goal,
        limit_share=None if limit is None else measured.ratio(limit, ours),
        device=device_name(conditions.device),
        settings=told | {"threads": torch.get_num_threads(), "torch": torch.__version__} | measured.counts(),
        more=more or {},
    )


def device_name(device: torch.device) -> str:
    """In words, such as `cpu, 2 threads` or the name of a GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
