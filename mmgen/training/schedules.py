"""The default schedule of the learning rate: a linear warm-up, then a cosine over the whole run."""

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mmgen.core.errors import UserError


class WarmupCosine(LambdaLR):
    """The learning rate climbs to the optimizer's `lr`, then falls along half a cosine to 0 at trainer.max_steps.

    Args:
        optimizer: whose learning rate it sets.
        warmup_steps: optimizer steps on which the learning rate climbs from 0; at most half of the run.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 100) -> None:
        if warmup_steps < 0:
            raise UserError(f"model.lr_scheduler.warmup_steps must be at least 0, got {warmup_steps}")
        self._warmup_steps = warmup_steps
        super().__init__(optimizer, lambda step: 0.0)  # until the end is known

    def end_at(self, max_steps: int) -> None:
        """Stretch the schedule over a run, from its first step.

        Raises:
            UserError: the run has no end.
        """
        if max_steps < 1:
            raise UserError("trainer.max_steps must say how long the run is: the learning rate is scheduled over it")
        warmup_steps = min(self._warmup_steps, max_steps // 2)
        factor = partial(warmup_cosine, max_steps=max_steps, warmup_steps=warmup_steps)
        self.lr_lambdas = [factor] * len(self.optimizer.param_groups)
        self._last_lr = [base * factor(0) for base in self.base_lrs]
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr


def warmup_cosine(step: int, max_steps: int, warmup_steps: int) -> float:
    """Factor in [0, 1] of the learning rate: linear over the warm-up, then half a cosine down to 0 at `max_steps`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = min(1.0, (step - warmup_steps) / (max_steps - warmup_steps))
    return (1 + math.cos(math.pi * done)) / 2
