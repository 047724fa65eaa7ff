"""What a run is given: devices, precision and tokens. Rates of devices are those of data sheets, dense, at best."""

from dataclasses import dataclass
from typing import Literal

from mmgen.core.errors import nearest, require

Precision = Literal["bf16-mixed", "bf16-true", "32-true"]
Strategy = Literal["ddp", "fsdp"]


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


@dataclass(frozen=True)
class Setup:
    """What a run is given.

    Args:
        gpus: number of devices; data.global_batch_size is divided among them.
        tokens: to train on, such as 300e9; by default what trainer.max_steps of the recipe come to.
        mfu: share of the devices' best rate that is reached, in (0, 1].
        device: a100, h100, h200, b200, l40s or rtx4090.
        precision: bf16-mixed, bf16-true or 32-true, as trainer.precision.
        strategy: ddp, with a whole model on each device, or fsdp, with a share of it.
        accumulate: batches whose gradients one step adds up; the recipe's by default.

    Raises:
        UserError: one of them is out of range.
    """

    gpus: int = 1
    tokens: float | None = None
    mfu: float = 0.4
    device: str = "h100"
    precision: Precision = "bf16-mixed"
    strategy: Strategy = "ddp"
    accumulate: int | None = None

    def __post_init__(self) -> None:
        fine = self.gpus >= 1 and 0 < self.mfu <= 1 and (self.tokens is None or self.tokens > 0)
        tokens = f"--tokens {self.tokens} positive"
        require(fine, f"--gpus {self.gpus} must be at least 1, --mfu {self.mfu} in (0, 1], and {tokens}")
