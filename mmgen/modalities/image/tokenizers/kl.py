"""A small KL autoencoder for images: continuous tokens, quick on a CPU."""

from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.tokenizers.quantizers import Gaussian


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
