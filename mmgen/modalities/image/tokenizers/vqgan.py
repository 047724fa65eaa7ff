"""The published VQGAN's encoder and decoder around any quantizer, built of diffusers' own blocks."""

from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.modalities.image.tokenizers.conv import QuantizedImageTokenizer
from mmgen.tokenizers.quantizers import Quantizer


class VQGANTokenizer(QuantizedImageTokenizer):
    """The autoencoder of VQGAN (Esser et al. 2021; the defaults are its f16 ImageNet model) around a quantizer.

    Layers and names are those of diffusers' `VQModel`, so that the weights of either fit the other.

    Args:
        quantizer: the bottleneck; its `dim` is what 1x1 convolutions lead to and from: 256 as published; 8 keeps
            more codes in use (Yu et al. 2022).
        image_size: height and width in pixels.
        channels: of the image.
        width: channels of the convolutions at the image's resolution.
        multipliers: of the width, one a resolution; each further one halves height and width.
        blocks: residual blocks a resolution in the encoder; the decoder has one more.
        attention: heights of the grid at which every residual block is followed by self-attention. The coarsest grid
            has attention between its blocks in any case.
        latent_channels: before and after the 1x1 convolutions.
        groups: of the group norms; must divide all widths.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        image_size: int = 256,
        channels: int = 3,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 1, 2, 2, 4),
        blocks: int = 2,
        attention: tuple[int, ...] = (16,),
        latent_channels: int = 256,
        groups: int = 32,
    ) -> None:
        sizes = (image_size, channels, width, *multipliers, blocks, latent_channels, groups)
        if not multipliers or min(sizes) < 1:
            raise UserError("VQGANTokenizer needs multipliers, and sizes, blocks and groups of at least 1")
        if image_size % 2 ** (len(multipliers) - 1):
            pixels = 2 ** (len(multipliers) - 1)
            raise UserError(f"image_size {image_size} is not divisible by the downsampling {pixels}")
        heights = [image_size // 2**level for level in range(len(multipliers))]
        widths = [width * multiplier for multiplier in multipliers]
        if any(each % groups for each in widths):
            raise UserError(f"VQGANTokenizer cannot divide widths of {widths} into {groups} groups: change groups")
        if missing := set(attention) - set(heights):
            raise UserError(f"attention at height {min(missing)} is not among the heights of the grids, {heights}")
        super().__init__(quantizer, image_size, channels, side=heights[-1])

        from diffusers.models.autoencoders.vae import Decoder, Encoder  # slow to import, and not needed to list recipes

        attends = [height in attention for height in heights]
        shared = {"block_out_channels": tuple(widths), "layers_per_block": blocks, "norm_num_groups": groups}
        down = tuple("AttnDownEncoderBlock2D" if each else "DownEncoderBlock2D" for each in attends)
        self.encoder = Encoder(channels, latent_channels, down, double_z=False, **shared)
        self.quant_conv = nn.Conv2d(latent_channels, quantizer.inputs, 1)
        self.post_quant_conv = nn.Conv2d(quantizer.dim, latent_channels, 1)
        up = tuple("AttnUpDecoderBlock2D" if each else "UpDecoderBlock2D" for each in reversed(attends))
        self.decoder = Decoder(latent_channels, channels, up, **shared)

    def to_latents(self, x: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(x))

    def to_pixels(self, codes: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(codes))
