"""Networks that tell reconstructions from real samples."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mmgen.core.errors import UserError


@dataclass(frozen=True, eq=False)
class Verdict:
    """What one network says of samples.

    Args:
        logits: (B, ...), high for what looks real.
        features: outputs of its layers before that, each (B, ...), first layer first.
    """

    logits: Tensor
    features: list[Tensor]

    def halves(self) -> "tuple[Verdict, Verdict]":
        """Of the first and of the second half of the samples."""
        (first, second), features = self.logits.chunk(2), [each.chunk(2) for each in self.features]
        return Verdict(first, [each[0] for each in features]), Verdict(second, [each[1] for each in features])


class Discriminator(nn.Module, ABC):
    """Samples to logits, high for what looks real, each by itself: batch norms would tie real and made samples, ranks
    and accumulated batches to one another.
    """

    @abstractmethod
    def verdicts(self, x: Tensor) -> list[Verdict]:
        """x (B, *sample_shape) -> what each of its networks says. Raises UserError on samples that it does not take."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *sample_shape) -> logits (B, ...); those of several networks in one row, (B, n)."""
        logits = [each.logits for each in self.verdicts(x)]
        return logits[0] if len(logits) == 1 else torch.cat([each.flatten(1) for each in logits], 1)


class Discriminators(Discriminator):
    """Several discriminators as one. Each of their networks counts the same.

    Args:
        each: at least one.
    """

    def __init__(self, each: list[Discriminator]) -> None:
        super().__init__()
        if not each:
            raise UserError("Discriminators needs at least one discriminator")
        self.each = nn.ModuleList(each)

    def verdicts(self, x: Tensor) -> list[Verdict]:
        return [verdict for part in cast(Iterable[Discriminator], self.each) for verdict in part.verdicts(x)]


class PatchGAN(Discriminator):
    """Judges patches of images, not whole ones (Isola et al. 2017, section 3.2.2), in the shape that VQGAN uses.

    With 3 layers of stride 2 a logit looks at 70 x 70 pixels, and an image needs 24 at least.

    Args:
        channels: of the image.
        width: channels after the first layer; each further one doubles them, to eight times this at most.
        layers: convolutions of stride 2.
        norm: `group` (Wu & He 2018: of one image, in 32 groups), in place of the published batch norm, or `none`. Only
            without a norm do logits depend on nothing outside their patch.
    """

    def __init__(
        self, channels: int = 3, width: int = 64, layers: int = 3, norm: Literal["group", "none"] = "group"
    ) -> None:
        super().__init__()
        if min(channels, width, layers) < 1:
            sizes = f"{channels}, {width}, {layers}"
            raise UserError(f"PatchGAN needs channels, width and layers of at least 1, got {sizes}")
        self.channels, self.layers = channels, layers
        self.smallest = 3 * 2**layers  # two convolutions of stride 1 follow, which need 3 x 3
        with torch.random.fork_rng(devices=[]):  # a recipe starts from the same tokenizer with an adversary and without
            self.net = _convolutions(channels, [width * min(2**layer, 8) for layer in range(layers + 1)], norm)

    def verdicts(self, x: Tensor) -> list[Verdict]:
        """x (B, C, H, W) in [-1, 1] -> one network's logits (B, 1, h, w), one a patch, and features (B, width, ...)."""
        if x.ndim != 4 or x.shape[1] != self.channels or min(x.shape[2:]) < self.smallest:
            raise UserError(
                f"PatchGAN of {self.layers} layers judges images of {self.channels} channels and at least"
                f" {self.smallest} pixels a side, got {tuple(x.shape[1:])}: set its channels, or fewer layers"
            )
        features = []
        for part in self.net:
            x = part(x)
            if isinstance(part, nn.LeakyReLU):
                features.append(x)
        return [Verdict(x, features)]


def _convolutions(channels: int, widths: list[int], norm: Literal["group", "none"]) -> nn.Sequential:
    """4 x 4 convolutions, all of stride 2 but the last two."""
    parts: list[nn.Module] = []
    for layer, (before, width) in enumerate(zip([channels, *widths], widths)):
        parts.append(nn.Conv2d(before, width, 4, stride=1 if layer == len(widths) - 1 else 2, padding=1))
        if layer and norm == "group":
            parts.append(nn.GroupNorm(math.gcd(width, 32), width))
        parts.append(nn.LeakyReLU(0.2))
    parts.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
    for part in parts:
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
            nn.init.zeros_(part.get_parameter("bias"))
    return nn.Sequential(*parts)
