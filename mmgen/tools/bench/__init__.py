"""Named benchmarks: our figure and a peer's, measured in turn, and what the machine could do.

A benchmark is one file of this package that calls `register`; `mmgen bench --list` and the tests find it there.
"""

from mmgen.tools.bench.benchmark import Benchmark, Conditions, Result, catalogue, register
from mmgen.tools.bench.timing import Comparison, compare

__all__ = ["Benchmark", "Comparison", "Conditions", "Result", "catalogue", "compare", "register"]
