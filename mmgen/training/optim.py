"""From a recipe's optimizer and learning rate schedule to what Lightning steps: which parameters decay, AdamW."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mmgen.core.errors import UserError
from mmgen.model.backbone.transformer import Block
from mmgen.training.schedules import WarmupCosine

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
        self,
        params: Iterable,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        groups = list(params)
        super().__init__(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=_can_fuse(_tensors(groups)))
        # A fused step can undo the scaling of float16 losses itself, and Lightning then clips no gradients under
        # autocast, of bfloat16 either. So the scaler undoes it, before gradients are clipped, as for other optimizers.
        self._step_supports_amp_scaling = False


def configure(
    module: L.LightningModule, optimizer: OptimizerFactory, lr_scheduler: SchedulerFactory
) -> OptimizerLRSchedulerConfig:
    """What `configure_optimizers` returns: an optimizer, and its schedule over the run, stepped with it."""
    made, schedule = scheduled(module, module.trainer.max_steps, optimizer, lr_scheduler)
    return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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
        made = optimizer(parameter_groups(module))
    with _refusals("lr_scheduler"):
        schedule = lr_scheduler(made)
    if isinstance(schedule, WarmupCosine):
        schedule.end_at(max_steps)
    return made, schedule


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters in groups that any optimizer of torch takes.

    Weights of linear maps and convolutions decay, by the optimizer's own `weight_decay`; gains, biases and tables have
    a `weight_decay` of 0: decay pulls a norm's gain away from 1 and an embedding that is rarely used towards 0, and
    helps neither. `hidden` marks the group of matrices within the blocks of a transformer.
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


def _weights(module: nn.Module) -> set[int]:
    """Identities of the weights of linear maps and convolutions."""
    maps = (each for each in module.modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd))
    return {id(each.weight) for each in maps}


def _tensors(groups: list[Any]) -> list[Tensor]:
    return [each for group in groups for each in (group["params"] if isinstance(group, dict) else [group])]


def _can_fuse(tensors: list[Tensor]) -> bool:
    """Whether AdamW has one kernel for them where they are."""
    return all(each.device.type in FUSED and torch.is_floating_point(each) for each in tensors)


@contextmanager
def _refusals(option: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"model.{option}: {' '.join(str(error).split())}") from None
