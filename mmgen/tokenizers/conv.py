"""Convolutional encoder and decoder that are quick on a CPU, shared by the image tokenizers of our own.

Resolution changes by space-to-depth and depth-to-space beside a convolution (Shi et al. 2016), so that none runs at the
full resolution of the image.
"""

import math

from torch import Tensor, nn

from mmgen.core.errors import UserError


def conv_encoder(channels: int, width: int, strides: list[int], blocks: int, out: int) -> nn.Sequential:
    """(b, channels, h s, w s) -> (b, out, h, w) with s the product of the strides, the outermost first; `blocks`
    residual blocks a step.
    """
    inputs = [channels] + [width] * (len(strides) - 1)
    down = [
        nn.Sequential(Shrink(c, width, s), *(ResidualBlock(width) for _ in range(blocks)))
        for c, s in zip(inputs, strides, strict=True)
    ]
    return nn.Sequential(*down, norm(width), nn.SiLU(), nn.Conv2d(width, out, 1))


def conv_decoder(channels: int, width: int, strides: list[int], blocks: int, dim: int) -> nn.Sequential:
    """(b, dim, h, w) -> (b, channels, h s, w s): the mirror image of `conv_encoder`."""
    outputs = [channels] + [width] * (len(strides) - 1)
    up = [
        nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)), Grow(width, c, s))
        for c, s in zip(outputs, strides, strict=True)
    ]
    return nn.Sequential(nn.Conv2d(dim, width, 3, padding=1), *reversed(up))


def check_sizes(image_size: int, channels: int, width: int, downsample: int | list[int], blocks: int) -> list[int]:
    """The strides. Raises UserError where sizes are too small, or do not divide."""
    if min(image_size, channels, width) < 1 or blocks < 0:
        sizes = f"{image_size}, {channels}, {width}, {blocks}"
        raise UserError(f"image_size, channels and width must be at least 1 and blocks at least 0; got {sizes}")
    strides = _strides(downsample)
    if image_size % math.prod(strides):
        raise UserError(f"image_size {image_size} is not divisible by the downsampling {math.prod(strides)}")
    return strides


class Shrink(nn.Sequential):
    """(b, c, h s, w s) -> (b, out, h, w): space to depth, then a convolution."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(nn.PixelUnshuffle(stride), nn.Conv2d(channels * stride**2, out, 3, padding=1))


class Grow(nn.Sequential):
    """(b, c, h, w) -> (b, out, h s, w s): a convolution, then depth to space."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        conv = nn.Conv2d(channels, out * stride**2, 3, padding=1)
        super().__init__(norm(channels), nn.SiLU(), conv, nn.PixelShuffle(stride))


class ResidualBlock(nn.Module):
    """x + conv(conv(x)), each after GroupNorm and SiLU; the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)
        first = nn.Conv2d(width, width, 3, padding=1)
        self.branch = nn.Sequential(norm(width), nn.SiLU(), first, norm(width), nn.SiLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def norm(width: int) -> nn.GroupNorm:
    """GroupNorm of 8 groups, or the most that divide the width."""
    return nn.GroupNorm(math.gcd(width, 8), width)


def _strides(downsample: int | list[int]) -> list[int]:
    if isinstance(downsample, int):
        steps = downsample.bit_length() - 1
        if downsample < 2 or downsample != 2**steps:
            mend = "give the steps as a list, such as [3, 2]"
            raise UserError(f"downsample {downsample} is not a power of two of at least 2; {mend}")
        return [2] * steps
    if not downsample or min(downsample) < 1:
        raise UserError(f"downsample steps {downsample} must be whole numbers of at least 1")
    return list(downsample)
