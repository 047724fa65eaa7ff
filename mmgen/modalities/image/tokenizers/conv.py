"""Convolutional image tokenizer around any quantizer, quick on a CPU."""

import math

from torch import Tensor, nn

from mmgen.modalities.image.tokenizers.quantized import QuantizedImageTokenizer
from mmgen.tokenizers.conv import check_sizes, conv_decoder, conv_encoder, last_weight
from mmgen.tokenizers.quantizers import Quantizer


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

    @property
    def last_layer(self) -> nn.Parameter:
        return last_weight(self.decoder)

    def to_latents(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def to_pixels(self, codes: Tensor) -> Tensor:
        return self.decoder(codes)
