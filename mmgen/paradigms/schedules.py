"""Schedules. Of masked generation: the share of positions that is hidden in training, over progress from 0 (all) to 1
(none), and how many are still hidden after each sampling step. Of discrete diffusion: alpha over time from 0 (data) to
1 (noise), and the times of sampling steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mmgen.core.errors import require, require_one_of

ScheduleName = Literal["linear", "cosine", "arccos"]

SCHEDULES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda r: 1 - r,
    "cosine": lambda r: torch.cos(math.pi / 2 * r),  # MaskGIT (Chang et al. 2022, section 3.3)
    # MaskGIL, after Besnier & Chen's port of MaskGIT (2023). Its mean is that of the cosine law, the law is another.
    "arccos": lambda r: torch.arccos(r) / (math.pi / 2),
}
"""The laws of the hidden share."""


def hidden_share(name: ScheduleName, progress: Tensor) -> Tensor:
    """Share of hidden positions in [0, 1], float64; progress in [0, 1]."""
    return SCHEDULES[name](progress.double()).clamp(0, 1)


def hidden_count(name: ScheduleName, progress: Tensor, size: Tensor) -> Tensor:
    """How many of `size` positions are hidden in training: ceil(share * size), at least one where there is any."""
    return torch.ceil(hidden_share(name, progress) * size - 1e-9).long().clamp_min(1).minimum(size)


RevealScheduleName = Literal["linear", "cosine", "arccos", "arccos_counts"]


def remaining(name: RevealScheduleName, step: int, steps: int, size: Tensor) -> Tensor:
    """How many of `size` positions are still hidden after sampling step 0 <= `step` < steps.

    Args:
        name: a law of the hidden share, for floor(share * size) as in MaskGIT; or `arccos_counts`, for steps that
            reveal numbers of positions in proportion to arccos(1 .. 0), as MaskGIL's do. The share that `arccos`
            leaves falls steeply at the end: of 256 positions in 8 steps the last one reveals 82, and not 50.
        step: from 0 on.
        steps: in all.
        size: (...) int64 positions that were hidden before the first step.
    """
    if name == "arccos_counts":
        return _remaining_by_counts(step, steps, size)
    progress = torch.tensor((step + 1) / steps, dtype=torch.float64)
    return torch.floor(hidden_share(name, progress).to(size.device) * size + 1e-9).long()


def _remaining_by_counts(step: int, steps: int, size: Tensor) -> Tensor:
    if step + 1 >= steps:
        return torch.zeros_like(size)
    weights = torch.arccos(torch.linspace(1, 0, steps, dtype=torch.float64, device=size.device))
    revealed = (size[..., None] * (weights / weights.sum())).round().long().clamp_min(1)
    return (size - revealed[..., : step + 1].sum(-1)).clamp_min(0)


NoiseScheduleName = Literal["linear", "cosine", "polynomial"]
TimeGridName = Literal["uniform", "cosine"]


def time_grid(name: TimeGridName, steps: int) -> Tensor:
    """(steps + 1,) float64 times of a sampler of discrete diffusion, from 1 to 0: `uniform`, or `cosine`, sin(pi u / 2)
    of uniform ones u, which takes small steps near noise and is what MD4 samples with (Shi et al. 2024).
    """
    require_one_of("sampling_grid", name, get_args(TimeGridName))
    times = 1 - torch.arange(steps + 1, dtype=torch.float64) / steps
    return torch.sin(math.pi / 2 * times) if name == "cosine" else times


@dataclass(frozen=True)
class NoiseSchedule:
    """How discrete diffusion corrupts tokens over time t, from 0 (none of them) to 1 (all): MD4's 1 - alpha_t (Shi et
    al. 2024, table 1), in float64 and exact at both ends. The linear and cosine laws are `hidden_share` at 1 - t.

    Args:
        name: linear, t; cosine, sin(pi t / 2); polynomial, t^exponent.
        exponent: of the polynomial; above 1 keeps more tokens than the linear law.
    """

    name: NoiseScheduleName = "linear"
    exponent: float = 2.0

    def __post_init__(self) -> None:
        require_one_of("schedule", self.name, get_args(NoiseScheduleName))
        require(self.exponent > 0, f"exponent {self.exponent} must be positive")

    @property
    def power(self) -> float:
        """1 for the linear law."""
        return self.exponent if self.name == "polynomial" else 1.0

    def share(self, time: Tensor) -> Tensor:
        """1 - alpha_t, the probability that a token is corrupted."""
        time = time.double()
        return torch.sin(math.pi / 2 * time) if self.name == "cosine" else time**self.power

    def rate(self, time: Tensor) -> Tensor:
        """-d alpha_t / dt, at least 0."""
        time = time.double()
        if self.name == "cosine":
            return math.pi / 2 * torch.cos(math.pi / 2 * time)
        return self.power * time ** (self.power - 1)

    def time(self, share: float) -> float:
        """When that share of the tokens is corrupted: the inverse of `share`."""
        return math.asin(share) / (math.pi / 2) if self.name == "cosine" else share ** (1 / self.power)
