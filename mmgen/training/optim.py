"""A recipe's optimizer and learning rate schedule: which parameters decay, AdamW, a warm-up and then a cosine."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from mmgen.core.errors import UserError
from mmgen.data.base import DataModule
from mmgen.data.joint import JointData
from mmgen.model.backbone.transformer import Block

OptimizerFactory = Callable[[Iterable], Optimizer]
"""Takes parameter groups, as `parameter_groups` makes them: a class of torch.optim or of mmgen, with its arguments."""

SchedulerFactory = Callable[[Optimizer], LRScheduler]
"""Takes the optimizer: a class of torch.optim.lr_scheduler or of mmgen, with its arguments."""

FUSED = ("cuda", "cpu")  # devices for which AdamW has one kernel


class FusedAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov & Hutter 2019) that updates each parameter in one kernel where it can: the same numbers as
    torch's up to rounding, in fewer passes over memory.

    Args:
        params: parameters, or groups of them; see `parameter_groups` for which of a module's decay.
        lr: highest learning rate, > 0.
        weight_decay: of linear maps and convolutions, as a share of the learning rate.
        betas: decay rates of the two moments, in [0, 1).
    """

    def __init__(
        self, params: Iterable, lr: float = 1e-3, weight_decay: float = 0.05, betas: tuple[float, float] = (0.9, 0.98)
    ) -> None:
        groups = list(params)
        tensors = [each for group in groups for each in (group["params"] if isinstance(group, dict) else [group])]
        fused = all(each.device.type in FUSED and torch.is_floating_point(each) for each in tensors)
        super().__init__(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
        # Otherwise Lightning leaves the scaling of float16 losses to the step, and clips no gradients under autocast.
        self._step_supports_amp_scaling = False


class WarmupCosine(LambdaLR):
    """The learning rate climbs to the optimizer's `lr`, then falls along half a cosine to 0 at trainer.max_steps.

    Args:
        optimizer: whose learning rate it sets.
        warmup_steps: optimizer steps on which the learning rate climbs from 0; at most half of the run.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 100) -> None:
        if warmup_steps < 0:
            raise UserError(f"model.lr_scheduler.warmup_steps must be at least 0, got {warmup_steps}")
        self._warmup_steps, self._max_steps = warmup_steps, -1
        super().__init__(optimizer, lambda step: 0.0)  # until the end is known

    def end_at(self, max_steps: int) -> None:
        """Stretch the schedule over a run, from its first step. Raises UserError where the run has no end."""
        if max_steps < 1:
            raise UserError("trainer.max_steps must say how long the run is: the learning rate is scheduled over it")
        self._max_steps = max_steps
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


class TrainedModule(L.LightningModule):
    """A module with the optimizer and schedule that its recipe names, and a test that measures what validation does.

    Attributes:
        optimizer: makes the optimizer from parameter groups.
        lr_scheduler: makes its schedule.
        work_unit: what `work` counts.
    """

    optimizer: OptimizerFactory
    lr_scheduler: SchedulerFactory
    work_unit = "tokens"

    def work(self, batch: dict[str, Any]) -> int:
        """Number of units in a batch."""
        raise NotImplementedError

    def measure(self, stage: str, batch: dict[str, Any]) -> None:
        """Log the figures of a held-out batch under `stage`, val or test."""
        raise NotImplementedError

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        self.measure("val", batch)

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        self.measure("test", batch)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of other data, before weights that do not fit are loaded."""
        data = self.trainer.datamodule
        saved = checkpoint.get(type(data).__qualname__)
        if isinstance(data, DataModule | JointData) and saved is not None:
            data.require_same(saved)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer, schedule = scheduled(self, self.trainer.max_steps, self.optimizer, self.lr_scheduler)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def scheduled(
    module: nn.Module, max_steps: int, optimizer: OptimizerFactory, lr_scheduler: SchedulerFactory
) -> tuple[Optimizer, LRScheduler]:
    """The optimizer of a module's trainable parameters, and its schedule.

    Args:
        module: whose parameters are optimized.
        max_steps: optimizer steps of the whole run; -1 for a run without end.
        optimizer: makes it from parameter groups.
        lr_scheduler: makes the schedule.

    Raises:
        UserError: arguments that the optimizer or the schedule refuses, or a schedule over a run without end.
    """
    with _refusals("optimizer"):
        stepped = optimizer(parameter_groups(module))
    with _refusals("lr_scheduler"):
        schedule = lr_scheduler(stepped)
    if isinstance(schedule, WarmupCosine):
        schedule.end_at(max_steps)
    return stepped, schedule


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters in groups that any optimizer of torch takes.

    Weights of linear maps and convolutions decay, by the optimizer's own `weight_decay`; gains, biases and tables have
    a `weight_decay` of 0. `hidden` marks the group of matrices within the blocks of a transformer.
    """
    trainable = [each for each in module.parameters() if each.requires_grad]
    decayed, hidden = _weights(module), set()
    for block in module.modules():
        if isinstance(block, Block):
            hidden |= _weights(block)
    groups: list[dict[str, Any]] = [
        {"params": [each for each in trainable if id(each) in hidden], "hidden": True},
        {"params": [each for each in trainable if id(each) in decayed - hidden], "hidden": False},
        {"params": [each for each in trainable if id(each) not in decayed], "hidden": False, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def trained_networks(module: nn.Module) -> list[nn.Module]:
    """All that changes in a step: a module, and the discriminator beside it."""
    adversary = getattr(module, "adversary", None)
    return [module] if adversary is None else [module, adversary.net]


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """All that get gradients in a step."""
    return [each for network in trained_networks(module) for each in network.parameters() if each.requires_grad]


def _weights(module: nn.Module) -> set[int]:
    """Identities of the weights of linear maps and convolutions."""
    maps = (each for each in module.modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd))
    return {id(each.weight) for each in maps}


@contextmanager
def _refusals(option: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"model.{option}: {' '.join(str(error).split())}") from None
