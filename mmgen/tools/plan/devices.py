"""What accelerators can do, by their makers' data sheets: dense tensor-core rates, without sparsity."""

from dataclasses import dataclass
from typing import Literal

from mmgen.core.errors import nearest, require

Precision = Literal["bf16-mixed", "bf16-true", "32-true"]


@dataclass(frozen=True)
class Device:
    """One accelerator.

    Args:
        name: as people call it.
        memory: bytes.
        bf16: multiplications and additions a second in bfloat16, at best.
        tf32: the same for float32 products with matmul_precision high.
    """

    name: str
    memory: float
    bf16: float
    tf32: float

    def peak(self, precision: Precision) -> float:
        """Operations a second at best."""
        return self.tf32 if precision == "32-true" else self.bf16


DEVICES = {
    "a100": Device("A100 80 GB", 80e9, 312e12, 156e12),
    "h100": Device("H100 SXM 80 GB", 80e9, 989e12, 495e12),
    "h200": Device("H200 141 GB", 141e9, 989e12, 495e12),
    "b200": Device("B200 180 GB", 180e9, 2250e12, 1125e12),
    "l40s": Device("L40S 48 GB", 48e9, 362e12, 183e12),
    "rtx4090": Device("RTX 4090 24 GB", 24e9, 165e12, 83e12),
}


def get_device(name: str) -> Device:
    """The device of that name; UserError naming the nearest one otherwise."""
    require(name in DEVICES, f"--device {name!r} is none of {', '.join(DEVICES)}{nearest(name, DEVICES)}")
    return DEVICES[name]
