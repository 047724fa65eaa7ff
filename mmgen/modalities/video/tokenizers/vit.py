"""BSQ-ViT of clips."""

from mmgen.model.backbone import Transformer
from mmgen.tokenizers.quantizers import Quantizer
from mmgen.tokenizers.vit import ViT


class VideoViTTokenizer(ViT):
    """Transformer encoder and decoder over square patches of each frame, causal in time (BSQ-ViT, Zhao et al. 2024).

    Args:
        quantizer: the bottleneck, of discrete or continuous tokens.
        encoder: of patches, with modulation none.
        decoder: of codes, with modulation none; it may have another shape than the encoder.
        image_size: height and width in pixels, divisible by `patch`.
        channels: of a frame, 1 or 3 as a rule.
        patch: pixels a token in each direction; a token lies in one frame.
        frames: of the clips that it is trained on; it codes any number.
        window: frames that a frame may see in each transformer, itself among them; None for all earlier ones. Through
            d blocks a frame still depends on up to d (window - 1) frames before it.

    Raises:
        UserError: as `ViT`.
    """

    modality = "video"

    def __init__(
        self,
        quantizer: Quantizer,
        encoder: Transformer,
        decoder: Transformer,
        image_size: int = 64,
        channels: int = 3,
        patch: int = 8,
        frames: int = 16,
        window: int | None = None,
    ) -> None:
        super().__init__(quantizer, encoder, decoder, image_size, channels, patch, frames, window)
