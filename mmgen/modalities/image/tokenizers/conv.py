"""Image tokenizers around any quantizer: residual convolutions that are quick on a CPU, and a small KL autoencoder."""

import math

from einops import rearrange
from torch import Tensor, nn

from mmgen.core.tokens import TokenSpec
from mmgen.tokenizers.base import State
from mmgen.tokenizers.conv import check_sizes, conv_decoder, conv_encoder
from mmgen.tokenizers.quantized import QuantizedTokenizer
from mmgen.tokenizers.quantizers import Gaussian, Quantizer


class QuantizedImageTokenizer(QuantizedTokenizer):
    """Images (B, C, H, W) <-> a square grid of codes, in raster order.

    Args:
        quantizer: the bottleneck; residual ones give (B, N, Q) tokens.
        image_size: height and width in pixels.
        channels: of the image.
        side: height and width of the grid.
    """

    encoder: nn.Module

    def __init__(self, quantizer: Quantizer, image_size: int, channels: int, side: int) -> None:
        super().__init__()
        self.sample_shape = (channels, image_size, image_size)
        self.spec = TokenSpec(
            quantizer.kind, quantizer.size, (1, side, side), levels=quantizer.levels, modality="image"
        )
        self.quantizer = quantizer

    def to_latents(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, quantizer.inputs, side, side)."""
        return self.encoder(x)

    def to_pixels(self, codes: Tensor) -> Tensor:
        """codes (B, quantizer.dim, side, side), of the weights' type -> (B, C, H, W), not clamped."""
        return self.decoder(codes)

    def latents(self, x: Tensor, state: State) -> Tensor:
        return rearrange(self.to_latents(x), "b c h w -> b 1 h w c")

    def samples(self, codes: Tensor, length: int, state: State) -> Tensor:
        return self.to_pixels(rearrange(codes.to(self.last_layer.dtype), "b 1 h w c -> b c h w").contiguous())


class ConvImageTokenizer(QuantizedImageTokenizer):
    """Residual convolutional encoder and decoder around a quantizer (VQGAN, Esser et al. 2021), without attention.

    No convolution runs at the full resolution of the image (`mmgen.tokenizers.conv`): that is what makes it quick on a
    CPU. The published shape is `VQGANTokenizer`.

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
        strides = check_sizes(image_size, channels, width, downsample, blocks)
        super().__init__(quantizer, image_size, channels, side=image_size // math.prod(strides))
        self.encoder = conv_encoder(channels, width, strides, blocks, quantizer.inputs)
        self.decoder = conv_decoder(channels, width, strides, blocks, quantizer.dim)


class KLImageTokenizer(ConvImageTokenizer):
    """`ConvImageTokenizer` around a `Gaussian` bottleneck: an autoencoder as of Rombach et al. 2022, section 3.1.

    Args:
        image_size: height and width in pixels, divisible by the total downsampling.
        channels: of the image, 1 or 3 as a rule.
        latent_channels: numbers a token.
        width: channels of the convolutions.
        downsample: pixels a token in each direction, as for ConvImageTokenizer.
        blocks: residual blocks per resolution, in the encoder and again in the decoder.
        kl_weight: of the divergence; more makes latents smoother and images blurrier.
    """

    def __init__(
        self,
        image_size: int = 28,
        channels: int = 1,
        latent_channels: int = 4,
        width: int = 64,
        downsample: int | list[int] = 4,
        blocks: int = 1,
        kl_weight: float = 1e-3,
    ) -> None:
        super().__init__(Gaussian(latent_channels, kl_weight), image_size, channels, width, downsample, blocks)
