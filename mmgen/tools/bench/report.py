"""Results as a person reads them."""

from mmgen.tools.bench.benchmark import Benchmark, Conditions, Result, device_name


def heading(benchmark: Benchmark, conditions: Conditions) -> str:
    """What follows."""
    return f"{benchmark.name}: {benchmark.sentence} ({device_name(conditions.device)})"


def lines(result: Result) -> str:
    """A result on one line, and what else was measured on a second."""
    told = [
        f"  {result.name}: {_figure(result.ours)} {result.unit}",
        f"{result.settings.get('peer', 'peer')} {_figure(result.peer)}",
        f"ratio {result.ratio:.2f}",
    ]
    if result.goal is not None:
        told.append(f"goal {result.goal:.2f} {'met' if result.met else 'missed'}")
    if result.limit_share is not None:
        told.append(f"{result.limit_share:.0%} of the limit")
    counts = {name: result.settings.get(name, 0) for name in ("disturbed", "noisy")}
    told += [f"{count} {name} runs" for name, count in counts.items() if count]
    more = ", ".join(f"{name} {_figure(value)}" for name, value in result.more.items())
    return ", ".join(told) + (f"\n    {more}" if more else "")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
