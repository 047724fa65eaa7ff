"""What a benchmark is, and the catalogue in which each file of this package registers its own."""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from typing import Any

import torch

from mmgen.core.errors import nearest, require
from mmgen.tools.bench.timing import LEAST, Comparison, compare


@dataclass(frozen=True)
class Result:
    """One figure next to a peer's.

    Attributes:
        name: of the benchmark and the case: `decode/8/x-transformers`.
        ours: our figure, a median over the runs.
        peer: the peer's, from the same runs.
        unit: of both: `tokens/s`, `ms`, `MiB`, ..
        ratio: how many times better ours is (2 is twice as fast, or half the memory): the median of each run's ratio.
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

    def __str__(self) -> str:
        """The result on one line, and further figures on a second."""
        parts = [
            f"  {self.name}: {_rounded(self.ours)} {self.unit}",
            f"{self.settings.get('peer', 'peer')} {_rounded(self.peer)}",
            f"ratio {self.ratio:.2f}",
        ]
        if self.goal is not None:
            parts.append(f"goal {self.goal:.2f} {'met' if self.met else 'missed'}")
        if self.limit_share is not None:
            parts.append(f"{self.limit_share:.0%} of the limit")
        parts += [f"{self.settings[name]} {name} runs" for name in ("disturbed", "noisy") if self.settings.get(name)]
        more = ", ".join(f"{name} {_rounded(value)}" for name, value in self.more.items())
        return ", ".join(parts) + (f"\n    {more}" if more else "")


@dataclass(frozen=True)
class Conditions:
    """Where, how often and how large a benchmark runs.

    Args:
        device: a CPU runs `torch.get_num_threads()` threads.
        runs: rounds that count; every figure is a median over them.
        tiny: the smallest sizes and one round, to test what is asserted. Such figures say nothing.
    """

    device: torch.device = torch.device("cpu")  # noqa: RUF009  (immutable)
    runs: int = 7
    tiny: bool = False

    @property
    def device_name(self) -> str:
        """In words, such as `cpu, 2 threads` or the name of a GPU."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"cpu, {torch.get_num_threads()} threads" if self.device.type == "cpu" else self.device.type

    @property
    def shape(self) -> tuple[int, int, int]:
        """Width, blocks and heads of a backbone."""
        return (64, 2, 2) if self.tiny else (384, 8, 6)

    def size(self, full: int, tiny: int) -> int:
        """A size, or the small one that stands for it in tests."""
        return tiny if self.tiny else full

    def compare(self, contenders: Mapping[str, Callable[[], object]]) -> Comparison:
        """Time contenders in turn on this device."""
        return compare(contenders, self.runs, self.device, 0.02 if self.tiny else LEAST)

    def result(
        self,
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
        more: dict[str, float] | None = None,
        **settings: Any,
    ) -> Result:
        """The result of a comparison of times; arguments as in `Result`, and:

        Args:
            measured: the times.
            peer: the contender that ours is compared with.
            ours: our contender.
            work: units of work in a run, for a rate such as tokens/s; None for a time in ms.
            limit: the contender that does only what no code could leave out: its time over ours is our share of it.
            package: of the peer, whose version is noted.
        """
        seconds = measured.median(ours), measured.median(peer)
        figures = [1e3 * each if work is None else work / each for each in seconds]
        known = {"peer": peer, "dtype": "float32"} | ({"version": version(package)} if package else {}) | settings
        known |= {"threads": torch.get_num_threads(), "torch": torch.__version__} | measured.counts()
        share = None if limit is None else measured.ratio(limit, ours)
        ratio = measured.ratio(peer, ours)
        return Result(name, figures[0], figures[1], unit, ratio, goal, share, self.device_name, known, more or {})

    def memory_result(self, name: str, ours: float, other: float, peer: str, goal: float, **settings: Any) -> Result:
        """The result of two amounts of memory in MiB, the second of `peer`."""
        settings |= {"peer": peer, "dtype": "float32"}
        return Result(name, ours, other, "MiB", other / ours, goal, None, self.device_name, settings)


Run = Callable[[Conditions], Iterator[Result]]


@dataclass(frozen=True)
class Benchmark:
    """A named benchmark.

    Attributes:
        name: on the command line.
        sentence: what is compared with what.
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


def get_benchmark(name: str) -> Benchmark:
    """One of the catalogue. Raises UserError naming the nearest."""
    known = catalogue()
    require(name in known, f"there is no benchmark {name!r}{nearest(name, known)} (mmgen bench --list names them)")
    return known[name]


def version(package: str) -> str | None:
    """Of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
