"""What tokenizers of sound share: any number of samples, filled up with silence, and streams that equal the whole."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.tokenizers.quantizers import Quantizer
from mmgen.tokenizers.stream import TokenizerStream
from mmgen.tokenizers.timed import TimedTokenizer


class AudioTokenizer(TimedTokenizer):
    """Sounds (B, 1, T) of any T >= 1 <-> Tokens of a grid (ceil(T / stride), 1, 1), `spec.rate` of them a second.

    A sound that is no whole number of tokens is filled up with silence at its end; `decode` is told how long it was, or
    gives whole tokens. Residual codes decode with fewer levels too, (B, N, q) with 1 <= q <= `spec.levels`, coarser.

    Attributes:
        sample_rate: samples a second.
        sample_shape: (1, samples) of the sounds that it is trained on.
        latency: samples between the arrival of a sample and the end of the chunk of output that it is part of, where
            sound is coded as it arrives; None where the tokenizer needs the whole. Time for computing comes on top.
    """

    sample_rate: int
    latency: int | None = None

    @abstractmethod
    def decode(self, tokens: Tokens, samples: int | None = None) -> Tensor:
        """Inverse of `encode`, as well as it was trained: (B, 1, samples) in [-1, 1], without gradient.

        Args:
            tokens: of any number of latents along time.
            samples: of the sound, the last of its tokens perhaps being of fewer; `stride` a latent by default.

        Raises:
            UserError: tokens of another grid, out of range, or not those of so many samples.
        """

    def filled(self, x: Tensor) -> Tensor:
        """x (B, 1, T) with silence after it, to a whole number of tokens."""
        return F.pad(x, (0, -x.shape[2] % self.spec.stride))


class AudioStream(TokenizerStream):
    """A sound that is coded while it arrives.

    A tokenizer that looks ahead makes the tokens of a chunk when later ones have come, so that a chunk may have fewer
    tokens than its samples, or none; `finish` gives those that wait when no more is to come.
    """

    def __init__(self, tokenizer: AudioTokenizer) -> None:
        super().__init__(tokenizer)
        self.finished = False

    @torch.inference_mode(False)
    @torch.no_grad()
    def finish(self) -> Tokens:
        """The tokens, perhaps none, that wait for what comes after the last chunk, which is silence. The stream encodes
        no more.

        Raises:
            UserError: nothing was encoded, or it is finished already.
        """
        if "encodes" not in self._last or self.finished:
            raise UserError("a stream is finished once, after it has encoded something")
        rows, _ = self._last["encodes"]
        tokens = self.encode_rest(rows)
        self.finished = True
        self.encoded += tokens.grid[0]
        return tokens

    @abstractmethod
    def encode_rest(self, rows: int) -> Tokens:
        """The body of `finish`, for so many sounds at once."""

    def check_length(self, direction: str, before: int | None, length: int) -> None:
        if direction == "encodes" and self.finished:
            raise UserError("this stream encodes no more: it is finished")
        super().check_length(direction, before, length)


def audio_spec(quantizer: Quantizer, samples: int, stride: int, sample_rate: int) -> TokenSpec:
    """The spec of a quantizer's tokens, one for `stride` samples, in sounds of so many samples."""
    return TokenSpec(
        quantizer.kind,
        quantizer.size,
        (-(-samples // stride), 1, 1),
        levels=quantizer.levels,
        modality="speech",
        rate=sample_rate / stride,
        stride=stride,
        first=stride,
    )
