"""BSQ-ViT of images."""

from mmgen.model.backbone import Transformer
from mmgen.tokenizers.quantizers import Quantizer
from mmgen.tokenizers.vit import ViT


class ViTTokenizer(ViT):
    """Transformer encoder and decoder over square patches, one token a patch (BSQ-ViT, Zhao et al. 2024, section 4).

    Args:
        quantizer: the bottleneck, of discrete or continuous tokens.
        encoder: of patches, with modulation none.
        decoder: of codes, with modulation none; it may have another shape than the encoder.
        image_size: height and width in pixels, divisible by `patch`.
        channels: of the image, 1 or 3 as a rule.
        patch: pixels a token in each direction.

    Raises:
        UserError: as `ViT`.
    """

    modality = "image"

    def __init__(
        self,
        quantizer: Quantizer,
        encoder: Transformer,
        decoder: Transformer,
        image_size: int = 64,
        channels: int = 3,
        patch: int = 8,
    ) -> None:
        super().__init__(quantizer, encoder, decoder, image_size, channels, patch)
