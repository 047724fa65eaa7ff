"""Convolutional image tokenizer with a VQ or BSQ bottleneck."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.errors import UserError
from mmgen.quantizers import Quantizer
from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokens import Tokens, TokenSpec


class ConvImageTokenizer(Tokenizer):
    """Residual convolutional encoder and decoder around a quantizer (VQGAN, Esser et al. 2021), without attention.

    Resolution changes by space-to-depth and depth-to-space beside a convolution (Shi et al. 2016), so that none runs at
    the full resolution of the image: that is what makes it quick on a CPU.

    Args:
        quantizer: the bottleneck; its `dim` is the number of channels of the latent grid.
        image_size: height and width in pixels, divisible by the total downsampling.
        channels: of the image, 1 or 3 as a rule.
        width: channels of the convolutions.
        downsample: pixels a token in each direction: a power of two, reached in steps of 2, or the steps themselves
            ([4, 2] is 8 in two steps, of which the first is cheapest).
        blocks: residual blocks per resolution, in the encoder and again in the decoder.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        image_size: int = 28,
        channels: int = 1,
        width: int = 64,
        downsample: int | list[int] = 4,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        strides = _strides(downsample)
        if min(image_size, channels, width) < 1 or blocks < 0:
            sizes = f"{image_size}, {channels}, {width}, {blocks}"
            raise UserError(f"image_size, channels and width must be at least 1 and blocks at least 0; got {sizes}")
        side, rest = divmod(image_size, math.prod(strides))
        if rest:
            raise UserError(f"image_size {image_size} is not divisible by the downsampling {math.prod(strides)}")
        self.sample_shape = (channels, image_size, image_size)
        self.spec = TokenSpec(quantizer.kind, quantizer.size, grid=(1, side, side), modality="image")
        self.quantizer = quantizer

        inputs = [channels] + [width] * (len(strides) - 1)
        down = [
            nn.Sequential(Shrink(c, width, s), *(ResidualBlock(width) for _ in range(blocks)))
            for c, s in zip(inputs, strides, strict=True)
        ]
        up = [
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)), Grow(width, c, s))
            for c, s in zip(inputs, strides, strict=True)
        ]
        self.encoder = nn.Sequential(*down, norm(width), nn.SiLU(), nn.Conv2d(width, quantizer.dim, 1))
        self.decoder = nn.Sequential(nn.Conv2d(quantizer.dim, width, 3, padding=1), *reversed(up))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        return self._tokens(self.quantizer.encode(self._latents(x)))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Tensor:
        indices = rearrange(self.check_tokens(tokens), "b (h w) -> b h w", h=self.spec.grid[1])
        return self._pixels(self.quantizer.lookup(indices)).clamp(-1, 1)

    def forward(self, x: Tensor) -> Reconstruction:
        quantized = self.quantizer(self._latents(x))
        return Reconstruction(self._pixels(quantized.values), self._tokens(quantized.indices), quantized.losses)

    def _latents(self, x: Tensor) -> Tensor:
        return rearrange(self.encoder(self.check_samples(x)), "b c h w -> b h w c")

    def _pixels(self, codes: Tensor) -> Tensor:
        codes = codes.to(next(self.decoder.parameters()).dtype)
        return self.decoder(rearrange(codes, "b h w c -> b c h w").contiguous())

    def _tokens(self, indices: Tensor) -> Tokens:
        return Tokens(rearrange(indices, "b h w -> b (h w)"), self.spec.grid)


class Shrink(nn.Sequential):
    """(b, c, h s, w s) -> (b, out, h, w): space to depth, then a convolution."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(nn.PixelUnshuffle(stride), nn.Conv2d(channels * stride**2, out, 3, padding=1))


class Grow(nn.Sequential):
    """(b, c, h, w) -> (b, out, h s, w s): a convolution, then depth to space."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(
            norm(channels), nn.SiLU(), nn.Conv2d(channels, out * stride**2, 3, padding=1), nn.PixelShuffle(stride)
        )


class ResidualBlock(nn.Module):
    """x + conv(conv(x)), each after GroupNorm and SiLU; the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.branch = nn.Sequential(
            norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), norm(width), nn.SiLU(), last
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def norm(width: int) -> nn.GroupNorm:
    """GroupNorm of 8 groups, or the most that divide the width."""
    return nn.GroupNorm(math.gcd(width, 8), width)


def _strides(downsample: int | list[int]) -> list[int]:
    if isinstance(downsample, int):
        steps = downsample.bit_length() - 1
        if downsample < 2 or downsample != 2**steps:
            raise UserError(
                f"downsample {downsample} is not a power of two of at least 2; give the steps as a list, such as [3, 2]"
            )
        return [2] * steps
    if not downsample or min(downsample) < 1:
        raise UserError(f"downsample steps {downsample} must be whole numbers of at least 1")
    return list(downsample)
