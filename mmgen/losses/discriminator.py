"""Networks that tell reconstructions from real samples."""

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.errors import UserError


class Discriminator(nn.Module, ABC):
    """Samples to logits, high for what looks real.

    A sample's logits must not depend on the others in its batch: batch norms would tie real and made samples, the
    ranks of data-parallel training, and accumulated batches to one another.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """x (B, *sample_shape) -> logits (B, ...). Raises UserError on samples that it does not take."""


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
            raise UserError(
                f"PatchGAN needs channels, width and layers of at least 1, got {channels}, {width}, {layers}"
            )
        self.channels, self.layers = channels, layers
        self.smallest = 3 * 2**layers  # two convolutions of stride 1 follow, which need 3 x 3
        with torch.random.fork_rng(devices=[]):  # a recipe starts from the same tokenizer with an adversary and without
            self.net = _convolutions(channels, [width * min(2**layer, 8) for layer in range(layers + 1)], norm)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) in [-1, 1] -> logits (B, 1, h, w), one a patch."""
        if x.ndim != 4 or x.shape[1] != self.channels or min(x.shape[2:]) < self.smallest:
            raise UserError(
                f"PatchGAN of {self.layers} layers judges images of {self.channels} channels and at least"
                f" {self.smallest} pixels a side, got {tuple(x.shape[1:])}: set its channels, or fewer layers"
            )
        return self.net(x)


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
