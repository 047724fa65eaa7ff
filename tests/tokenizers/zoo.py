"""Every trainable tokenizer, small: what the laws of tests/tokenizers/test_laws.py run over."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmgen.media.log_mel import LogMel
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.modalities.image.tokenizers.vit import ViTTokenizer
from mmgen.modalities.image.tokenizers.vqgan import VQGANTokenizer
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.modalities.speech.tokenizers.codec import SEANetCodec
from mmgen.modalities.speech.tokenizers.mel import MelTokenizer
from mmgen.modalities.speech.tokenizers.seanet import SpectralHead
from mmgen.modalities.speech.tokenizers.vocoder import Vocoder
from mmgen.modalities.video.tokenizers.causal_conv import CausalConvTokenizer, TimeConv
from mmgen.modalities.video.tokenizers.vit import VideoViTTokenizer
from mmgen.model.backbone import Transformer
from mmgen.tokenizers import QuantizedTokenizer
from mmgen.tokenizers.causal_conv import FrameBlock
from mmgen.tokenizers.quantizers import BSQ, FSQ, VQ, Gaussian, Quantizer, ResidualVQ

QUANTIZERS: dict[str, Callable[[], Quantizer]] = {
    "bits": lambda: BSQ(6),
    "fsq": lambda: FSQ([4, 5, 3]),
    "vq": lambda: VQ(16, 4),
    "residual": lambda: ResidualVQ(16, 4, levels=3),
    "continuous": lambda: Gaussian(3),
}
KINDS = {"bits": "bits", "fsq": "categorical", "vq": "categorical"}

CODEC: dict[str, Any] = {"sample_rate": 600, "seconds": 0.04, "ratios": (3, 2), "channels": 4, "width": 8, "blocks": 1}
MOTION: dict[str, Any] = {"dims": 251, "frames": 12, "width": 8, "dilations": (3, 1)}
VIDEO: dict[str, Any] = {"frames": 7, "image_size": 8, "width": 4, "downsample": [2, 2]}
MEL: dict[str, Any] = {"sample_rate": 8000, "seconds": 0.1, "n_fft": 256, "hop": 64, "bins": 24, "width": 16}


class Hum(Vocoder):
    """One sine a frame, as loud as its bands: a vocoder of whose sound every sample shows its frame."""

    def forward(self, levels: Tensor, mel: LogMel) -> Tensor:
        wave = torch.linspace(0, 6.28, mel.hop).sin()
        return (levels.mean(1).exp()[:, :, None] * wave).flatten(1)[:, None]


def transformer(dim: int = 24, depth: int = 2, heads: int = 2, **changes: Any) -> Transformer:
    return Transformer(**{"dim": dim, "depth": depth, "heads": heads, "modulation": "none"} | changes)


def vit(quantizer: Quantizer, frames: int | None = None, **changes: Any) -> ViTTokenizer | VideoViTTokenizer:
    kind: Any = ViTTokenizer if frames is None else VideoViTTokenizer
    options = {"image_size": 8, "channels": 3, "patch": 4} | ({} if frames is None else {"frames": frames})
    return kind(quantizer, transformer(), transformer(16, 1), **options | changes)


def mel(quantizer: Quantizer, **changes: Any) -> MelTokenizer:
    return MelTokenizer(quantizer, **{"blocks": 1, "vocoder": Hum()} | MEL | changes)


IMAGES: dict[str, Callable[[Quantizer], QuantizedTokenizer]] = {
    "image conv": lambda q: ConvImageTokenizer(q, image_size=16, width=8),
    "vqgan": lambda q: VQGANTokenizer(q, 16, width=8, multipliers=(1, 2), blocks=1, attention=(), groups=4),
    "image vit": vit,
}
CAUSAL: dict[str, Callable[[Quantizer], QuantizedTokenizer]] = {
    "video vit": lambda q: vit(q, frames=4),
    "video vit, window of 1": lambda q: vit(q, frames=4, window=1),
    "video vit, window of 3": lambda q: vit(q, frames=4, window=3),
    "video conv": lambda q: CausalConvTokenizer(q, **VIDEO, time_stride=2),
    "video conv, a frame a token": lambda q: CausalConvTokenizer(q, **VIDEO, time_stride=1),
    "video conv, 3 frames a token": lambda q: CausalConvTokenizer(q, **VIDEO, time_stride=[1, 3]),
    "video conv, 4 frames a token": lambda q: CausalConvTokenizer(q, **VIDEO, time_stride=[2, 2]),
    "codec": lambda q: SEANetCodec(q, **CODEC),
    "codec, units": lambda q: SEANetCodec(q, **CODEC | {"units": 2, "blocks": 0}),
    "codec, istft": lambda q: SEANetCodec(q, **CODEC, head="istft"),
    "codec, short overlap": lambda q: SEANetCodec(q, **CODEC, head="istft", overlap=0.3),
    "codec, mel": lambda q: SEANetCodec(q, **CODEC, front="mel", head="istft"),
    "codec, ahead": lambda q: SEANetCodec(q, **CODEC, front="mel", head="istft", lookahead=1),
    "codec, far ahead": lambda q: SEANetCodec(q, **CODEC, lookahead=2),
    "motion": lambda q: MotionTokenizer(q, **MOTION, causal=True),
    "motion patches": lambda q: MotionTokenizer(q, **MOTION, network="patch", causal=True),
}
TIMED = CAUSAL | {
    "motion, centred": lambda q: MotionTokenizer(q, **MOTION),
    "motion patches, centred": lambda q: MotionTokenizer(q, **MOTION, network="patch"),
    "mel": mel,
    "mel, causal": lambda q: mel(q, causal=True, pool=4),
}
ALL = IMAGES | TIMED


class Statistics:
    """What a motion tokenizer asks of its data."""

    sample_shape, fps = (251, 12), 20.0

    def statistics(self) -> tuple[Tensor, Tensor]:
        return torch.linspace(-3, 3, 251), torch.linspace(0.5, 2, 251)


def samples(tokenizer: QuantizedTokenizer, batch: int, length: int | None = None, seed: int = 0) -> Tensor:
    """Noise in the tokenizer's units; the first frames of a row are the same whatever their number."""
    channels, *shape = tokenizer.sample_shape
    generators = [torch.Generator().manual_seed(1000 * seed + row) for row in range(batch)]
    frames, *rest = shape if length is None or tokenizer.spec.unit is None else (length, *shape[1:])
    rows = [torch.rand(frames, channels, *rest, generator=each).transpose(0, 1) for each in generators]
    x = (2 * torch.stack(rows) - 1).to(next(tokenizer.parameters()).dtype)
    if tokenizer.spec.modality == "motion":
        mean, std = Statistics().statistics()
        x = 2 * x * std.to(x)[:, None] + mean.to(x)[:, None]
    return x


def fresh(name: str, kind: str = "continuous") -> QuantizedTokenizer:
    torch.manual_seed(0)
    tokenizer = ALL[name](QUANTIZERS[kind]())
    tokenizer.adapt(Statistics())
    return tokenizer


def small(name: str, kind: str = "continuous") -> QuantizedTokenizer:
    """In evaluation mode, with codebooks and moments that a batch has filled, and no weight at the zero that blocks
    begin with: at first, they would do nothing.
    """
    tokenizer = fresh(name, kind)
    with torch.no_grad():
        for layer in tokenizer.modules():
            if isinstance(layer, FrameBlock):
                nn.init.normal_(layer.mlp.get_parameter("3.weight"), std=0.3)
            if isinstance(layer, TimeConv):
                layer.conv.weight.normal_(std=0.3)
            if isinstance(layer, SpectralHead):
                layer.out.weight.mul_(10)
    tokenizer.train()(samples(tokenizer, 8, seed=9))
    return tokenizer.eval()
