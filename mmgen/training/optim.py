"""AdamW with decay groups, and warm-up + cosine over the whole run."""

import math
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mmgen.core.errors import UserError

FUSED = ("cuda", "cpu")  # devices for which AdamW has one kernel


def adamw(
    module: nn.Module, max_steps: int, lr: float, weight_decay: float, betas: tuple[float, float], warmup_steps: int
) -> OptimizerLRSchedulerConfig:
    """What `configure_optimizers` returns: `scheduled_adamw`, its schedule stepped with it."""
    optimizer, schedule = scheduled_adamw(module, max_steps, lr, weight_decay, betas, warmup_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def scheduled_adamw(
    module: nn.Module, max_steps: int, lr: float, weight_decay: float, betas: tuple[float, float], warmup_steps: int
) -> tuple[AdamW, LambdaLR]:
    """AdamW (Loshchilov & Hutter 2019) and its schedule.

    Args:
        module: whose trainable parameters are optimised.
        max_steps: optimiser steps of the whole run.
        lr: the highest learning rate.
        weight_decay: of matrices and convolutions; see `decay_groups`.
        betas: of Adam.
        warmup_steps: steps on which the learning rate climbs from 0; at most half of the run.

    Raises:
        UserError: the run has no end to schedule for.
    """
    if max_steps < 1:
        raise UserError("trainer.max_steps must say how long the run is: the learning rate is scheduled over it")
    optimizer = AdamW(decay_groups(module, weight_decay), lr=lr, betas=betas, fused=fused_where_it_can(module))
    # A fused step can undo the scaling of float16 losses itself, and Lightning then clips no gradients under autocast,
    # of bfloat16 either. So the scaler undoes it, before gradients are clipped, as for any other optimiser.
    optimizer._step_supports_amp_scaling = False
    warmup_steps = min(warmup_steps, max_steps // 2)
    return optimizer, LambdaLR(optimizer, partial(warmup_cosine, max_steps=max_steps, warmup_steps=warmup_steps))


def fused_where_it_can(module: nn.Module) -> bool:
    """Whether AdamW updates a parameter in one kernel where the trainable ones are: the same numbers up to rounding, in
    fewer passes over memory.
    """
    trainable = [each for each in module.parameters() if each.requires_grad]
    return all(each.device.type in FUSED and torch.is_floating_point(each) for each in trainable)


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: weights of linear maps and convolutions decay; gains, biases, tables do not.

    Decay pulls a norm's gain away from 1 and an embedding that is rarely used towards 0, and helps neither.
    """
    maps = [each for each in module.modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd)]
    decayed = {id(each.weight) for each in maps}
    trainable = [each for each in module.parameters() if each.requires_grad]
    groups = [[each for each in trainable if (id(each) in decayed) is decays] for decays in (True, False)]
    return [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}]


def warmup_cosine(step: int, max_steps: int, warmup_steps: int) -> float:
    """Factor in [0, 1] of the learning rate: linear over the warm-up, then half a cosine down to 0 at `max_steps`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = min(1.0, (step - warmup_steps) / (max_steps - warmup_steps))
    return (1 + math.cos(math.pi * done)) / 2
