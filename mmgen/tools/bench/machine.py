"""What a machine can do at best, measured: multiplications and bytes a second."""

import math
from dataclasses import dataclass

import torch

from mmgen.tools.bench.timing import stopwatch_for


@dataclass(frozen=True)
class Machine:
    """Of one device and dtype.

    Attributes:
        flops: floating-point operations a second of a large matrix product, a multiply-add being two.
        bandwidth: bytes a second that a copy of a large tensor reads and writes.
    """

    flops: float
    bandwidth: float

    def shares(self, flops: float, read: float, seconds: float) -> dict[str, float]:
        """`mfu` and `bandwidth_share`, in (0, 1], of work that needs so many operations and bytes."""
        return {"mfu": flops / seconds / self.flops, "bandwidth_share": read / seconds / self.bandwidth}


def machine(device: torch.device, dtype: torch.dtype, tiny: bool = False) -> Machine:
    """The best of a few tries, in which nothing may be slower by chance only.

    Args:
        device: to be measured.
        dtype: of the numbers.
        tiny: small sizes, for tests.
    """
    side, count = (64, 2**16) if tiny else (8192, 2**28) if device.type == "cuda" else (1024, 2**25)
    a, b, product = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(3))
    source, target = (torch.ones(count, device=device, dtype=dtype) for _ in range(2))
    watch, least = stopwatch_for(device), {"product": math.inf, "copy": math.inf}
    for _ in range(2 if tiny else 6):
        least["product"] = min(least["product"], watch(lambda: torch.mm(a, b, out=product), 1).seconds)
        least["copy"] = min(least["copy"], watch(lambda: target.copy_(source), 1).seconds)
    return Machine(2 * side**3 / least["product"], 2 * count * source.element_size() / least["copy"])
