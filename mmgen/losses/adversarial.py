"""Adversarial training: its settings, and what the two sides minimise."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.errors import UserError
from mmgen.losses.discriminator import Discriminator
from mmgen.quantizers.base import sum_over_ranks, world

Game = Literal["hinge", "non_saturating"]

_FLOOR = 1e-4  # of the adversarial gradient's norm, and ...
_CEILING = 1e4  # ... of the weight, as in VQGAN's code


@dataclass(frozen=True)
class Adversarial:
    """How a tokenizer is trained against a discriminator (VQGAN, Esser et al. 2021, section 3.1).

    Steps are global batches, whatever number of accumulated batches and devices each falls to.

    Args:
        discriminator: tells reconstructions from samples; trained along, and no part of the tokenizer.
        start: steps before it begins to be trained and to count, so that it meets reconstructions that are worth it.
        weight: of the adversarial loss.
        loss: `hinge` (Lim & Ye 2017) or `non_saturating` (Goodfellow et al. 2014).
        adaptive: multiply the weight by `adaptive_weight`, of each accumulated batch.
        lr: highest learning rate of the discriminator. It climbs and falls as the tokenizer's does, from `start` on.
        betas: of its Adam.

    Raises:
        UserError: a negative start or weight.
    """

    discriminator: Discriminator
    start: int
    weight: float = 0.8
    loss: Game = "hinge"
    adaptive: bool = True
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.9)

    def __post_init__(self) -> None:
        if self.start < 0 or self.weight < 0:
            raise UserError(f"adversarial start and weight must be at least 0, got {self.start} and {self.weight:g}")


def generator_loss(made: Tensor, game: Game) -> Tensor:
    """What the tokenizer minimises, from the logits of its reconstructions.

    `hinge`: any sign, falls as they look more real. `non_saturating`: cross-entropy in nats, >= 0.
    """
    made = _precise(made)
    return -made.mean() if game == "hinge" else F.softplus(-made).mean()


def discriminator_loss(real: Tensor, made: Tensor, game: Game) -> Tensor:
    """What the discriminator minimises: the mean of its losses on samples and on reconstructions, >= 0.

    It starts near 1 (`hinge`) or log 2 (`non_saturating`), which is also where a discriminator ends that is no better
    than chance; near 0 it has won, and has nothing more to teach.
    """
    real, made = _precise(real), _precise(made)
    if game == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + made).mean()) / 2
    return (F.softplus(-real).mean() + F.softplus(made).mean()) / 2


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: nn.Parameter) -> Tensor:
    """|gradient of the reconstruction loss| / |gradient of the adversarial loss| at the decoder's last layer (Esser et
    al. 2021, equation 7): a scalar in [0, 10000], without gradient.

    Gradients are averaged over ranks before their norms are taken, so that all ranks agree. A collective call.
    """
    norms = []
    for loss in (reconstruction, adversarial):
        with torch.autocast(loss.device.type, enabled=False):  # types are those of the forward pass
            (gradient,) = torch.autograd.grad(loss, last_layer, retain_graph=True)
        norms.append((sum_over_ranks(_precise(gradient)) / world()[1]).norm())
    return (norms[0] / (norms[1] + _FLOOR)).clamp(0, _CEILING)


def _precise(x: Tensor) -> Tensor:
    """x in at least float32, whatever autocast left it in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
