"""Encoder, quantizer, decoder: what all tokenizers of our own do with them, whole or in a stream."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from mmgen.core.tokens import Tokens
from mmgen.tokenizers.base import Reconstruction, State, TimedTokenizer, TokenizerStream
from mmgen.tokenizers.quantizers import Quantizer


class QuantizedTokenizer(TimedTokenizer):
    """A tokenizer around a quantizer: all of it but the encoder and the decoder.

    Both work on consecutive chunks of a clip, and keep what they need of the chunks before in a `State`. A whole clip
    is a single chunk that begins with an empty one; an image is a clip of one frame.
    """

    quantizer: Quantizer
    decoder: nn.Module

    @property
    def last_layer(self) -> nn.Parameter:
        return last_weight(self.decoder)

    @abstractmethod
    def latents(self, x: Tensor, state: State) -> Tensor:
        """The next samples -> (B, t, h, w, quantizer.inputs). Writes to the state."""

    @abstractmethod
    def samples(self, codes: Tensor, length: int, state: State) -> Tensor:
        """The next codes (B, t, h, w, quantizer.dim) -> `length` frames or samples, not clamped. Writes to state."""

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        return self.encode_chunk(self.check_samples(x), {})

    @torch.no_grad()
    def decode(self, tokens: Tokens, length: int | None = None) -> Tensor:
        self.check_tokens(tokens)
        return self.decode_chunk(tokens, self.clip_length(tokens, length), {})

    def forward(self, x: Tensor) -> Reconstruction:
        quantized = self.quantizer(self.latents(self.check_samples(x), {}))
        made = self.samples(quantized.values, x.shape[2], {})
        return Reconstruction(made, raster(quantized.indices), quantized.losses)

    def streaming(self) -> TokenizerStream:
        return super().streaming() if self.spec.unit is None else QuantizedStream(self)

    def stream_state(self) -> State:
        """What a stream begins with."""
        return {}

    def encode_chunk(self, x: Tensor, state: State) -> Tokens:
        """The next samples, checked -> their tokens. Writes to the state."""
        return raster(self.quantizer.encode(self.latents(x, state)))

    def decode_chunk(self, tokens: Tokens, length: int, state: State) -> Tensor:
        """The next tokens, checked -> their samples in [-1, 1]. Writes to the state."""
        codes = self.quantizer.lookup(tokens.values.unflatten(1, tokens.grid))
        return self.bounded(self.samples(codes, length, state))

    def bounded(self, x: Tensor) -> Tensor:
        """What the decoder made, as samples of the data: in [-1, 1]."""
        return x.clamp(-1, 1)


class QuantizedStream(TokenizerStream):
    """Carries what each layer needs of the chunks before."""

    def __init__(self, tokenizer: QuantizedTokenizer) -> None:
        super().__init__(tokenizer)
        self._quantized = tokenizer
        self.state = tokenizer.stream_state()  # of both directions, which share no layer

    def encode_chunk(self, x: Tensor) -> Tokens:
        state = dict(self.state)
        tokens = self._quantized.encode_chunk(x, state)
        self.state = state
        return tokens

    def decode_chunk(self, tokens: Tokens, length: int) -> Tensor:
        state = dict(self.state)
        x = self._quantized.decode_chunk(tokens, length, state)
        self.state = state
        return x


def last_weight(decoder: nn.Module) -> nn.Parameter:
    """Weight of the last convolution of a decoder, in the order in which its layers were made."""
    convolutions = [layer for layer in decoder.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d)]
    return convolutions[-1].get_parameter("weight")


def raster(indices: Tensor) -> Tokens:
    """(B, t, h, w, ...) -> tokens in order of time, then raster."""
    t, h, w = indices.shape[1:4]
    return Tokens(indices.flatten(1, 3), (t, h, w))
