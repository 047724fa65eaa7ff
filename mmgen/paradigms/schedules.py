"""Masking schedules: the share of positions that is hidden, as a function of progress from 0 (all hidden) to 1
(none).
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["linear", "cosine", "arccos"]

SCHEDULES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda r: 1 - r,
    "cosine": lambda r: torch.cos(math.pi / 2 * r),  # MaskGIT (Chang et al. 2022, section 3.3)
    "arccos": lambda r: torch.arccos(r) / (math.pi / 2),  # MaskGIL, MUSE (Chang et al. 2023)
}


def hidden_share(name: ScheduleName, progress: Tensor) -> Tensor:
    """Share of hidden positions in [0, 1], float64; progress in [0, 1]."""
    return SCHEDULES[name](progress.double()).clamp(0, 1)


def hidden_count(name: ScheduleName, progress: Tensor, size: Tensor) -> Tensor:
    """How many of `size` positions are hidden in training: ceil(share * size), at least one where there is any."""
    return torch.ceil(hidden_share(name, progress) * size - 1e-9).long().clamp_min(1).minimum(size)


def remaining(name: ScheduleName, step: int, steps: int, size: Tensor) -> Tensor:
    """How many of `size` positions are still hidden after sampling step 0 <= `step` < steps: floor(share * size)."""
    progress = torch.tensor((step + 1) / steps, dtype=torch.float64)
    return torch.floor(hidden_share(name, progress).to(size.device) * size + 1e-9).long()
