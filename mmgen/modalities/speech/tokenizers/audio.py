"""What tokenizers of sound share: any number of samples, filled up with silence."""

import torch.nn.functional as F
from torch import Tensor

from mmgen.core.tokens import Kind, TokenSpec
from mmgen.tokenizers.base import TimedTokenizer


class AudioTokenizer(TimedTokenizer):
    """Sounds (B, 1, T) of any T >= 1 <-> Tokens of a grid (ceil(T / stride), 1, 1), `spec.rate` of them a second.

    A sound that is no whole number of tokens is filled up with silence at its end. Residual codes decode with fewer
    levels too, (B, N, q) with 1 <= q <= `spec.levels`, coarser.

    Attributes:
        sample_rate: samples a second.
        sample_shape: (1, samples) of the sounds that it is trained on.
        latency: samples between the arrival of a sample and the end of the chunk of output that it is part of, where
            sound is coded as it arrives; None where the tokenizer needs the whole. Time for computing comes on top.
    """

    sample_rate: int
    latency: int | None = None

    def filled(self, x: Tensor) -> Tensor:
        """x (B, 1, T) with silence after it, to a whole number of tokens."""
        return F.pad(x, (0, -x.shape[2] % self.spec.stride))


def audio_spec(kind: Kind, size: int, levels: int, samples: int, stride: int, sample_rate: int) -> TokenSpec:
    """The spec of tokens, one for `stride` samples, in sounds of so many samples."""
    grid, rate = (-(-samples // stride), 1, 1), sample_rate / stride
    return TokenSpec(kind, size, grid, levels=levels, modality="speech", rate=rate, stride=stride, first=stride)
