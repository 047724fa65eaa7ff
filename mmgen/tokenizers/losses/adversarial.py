"""Adversarial training: its settings, and what the two sides minimise."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.tokenizers.losses.discriminator import Discriminator, Verdict
from mmgen.tokenizers.quantizers.base import sum_over_ranks, world

Game = Literal["hinge", "non_saturating", "least_squares"]

_FLOOR = 1e-4  # of the adversarial gradient's norm, and ...
_CEILING = 1e4  # ... of the weight, as in VQGAN's code
_SMALLEST = 1e-6  # mean feature that others are measured by


@dataclass(frozen=True)
class Adversarial:
    """How a tokenizer is trained against a discriminator (VQGAN, Esser et al. 2021, section 3.1).

    Steps are global batches, whatever number of accumulated batches and devices each falls to.

    Args:
        discriminator: tells reconstructions from samples; trained along, and no part of the tokenizer.
        start: steps before it begins to be trained and to count.
        weight: of the adversarial loss.
        loss: `hinge` (Lim & Ye 2017), `non_saturating` (Goodfellow et al. 2014) or `least_squares` (Mao et al. 2017).
        adaptive: multiply the weight by `adaptive_weight`, of each accumulated batch. With a `Balancer`, which does the
            same for all losses, it must be off.
        feature_matching: weight of `feature_matching`, the distance of the discriminator's features.
        lr: highest learning rate of the discriminator; from `start` on it climbs, then falls to 0 as `WarmupCosine`.
        betas: decay rates of the two moments of its AdamW.
        warmup_steps: on which its learning rate climbs from 0.

    Raises:
        UserError: a negative start or weight.
    """

    discriminator: Discriminator
    start: int
    weight: float = 0.8
    loss: Game = "hinge"
    adaptive: bool = True
    feature_matching: float = 0.0
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.9)
    warmup_steps: int = 50

    def __post_init__(self) -> None:
        if min(self.start, self.weight, self.feature_matching) < 0:
            raise UserError(
                "adversarial start, weight and feature_matching must be at least 0, got"
                f" {self.start}, {self.weight:g} and {self.feature_matching:g}"
            )


def generator_loss(fake: Tensor, game: Game) -> Tensor:
    """What the tokenizer minimises, from the logits of its reconstructions.

    `hinge`: any sign, falls as they look more real. `non_saturating`: cross-entropy in nats, >= 0. `least_squares`:
    mean squared distance to 1, >= 0.
    """
    fake = _precise(fake)
    if game == "least_squares":
        return (1 - fake).square().mean()
    return -fake.mean() if game == "hinge" else F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor, game: Game) -> Tensor:
    """What the discriminator minimises: the mean of its losses on samples and on reconstructions, >= 0.

    1 (`hinge`), log 2 (`non_saturating`) or 1/4 (`least_squares`, which starts at 1/2) is chance; near 0 it has won.
    """
    real, fake = _precise(real), _precise(fake)
    if game == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    if game == "least_squares":
        return ((1 - real).square().mean() + fake.square().mean()) / 2
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def feature_matching(real: list[Verdict], fake: list[Verdict]) -> Tensor:
    """Distance between a discriminator's features of samples and of their reconstructions, a scalar >= 0 (EnCodec,
    Defossez et al. 2022, equation 6): the mean absolute difference over the mean absolute feature of the sample, for
    each sample by itself, averaged over samples, layers and networks. Features that are all 0 are at a distance of 1.

    Args:
        real: verdicts on the samples; constants.
        fake: verdicts on their reconstructions, in the same order.

    Raises:
        UserError: the discriminator has no features.
    """
    distances = []
    for one, other in zip(real, fake, strict=True):
        for feature, its in zip(one.features, other.features, strict=True):
            feature, its = _precise(feature.detach()).flatten(1), _precise(its).flatten(1)
            size = feature.abs().mean(1).clamp_min(_SMALLEST)
            distances.append(((its - feature).abs().mean(1) / size).mean())
    if not distances:
        raise UserError("feature matching needs a discriminator with features, and this one has none")
    return torch.stack(distances).mean()


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
