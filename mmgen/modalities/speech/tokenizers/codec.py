"""Causal neural codec of sound around any quantizer, quick on a CPU."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer, audio_spec
from mmgen.modalities.speech.tokenizers.seanet import (
    SpectralHead,
    frame_decoder,
    mel_encoder,
    seanet_encoder,
    seanet_head,
)
from mmgen.tokenizers.base import Reconstruction, State
from mmgen.tokenizers.quantized import QuantizedStream, QuantizedTokenizer, last_weight, raster
from mmgen.tokenizers.quantizers import Quantizer


class SEANetCodec(QuantizedTokenizer, AudioTokenizer):
    """Residual autoencoder of causal convolutions around a quantizer: the SEANet of SoundStream (Zeghidour et al. 2021)
    and EnCodec (Defossez et al. 2022), with blocks of ConvNeXt at the rate of tokens where EnCodec has an LSTM.

    The product of `ratios` is the number of samples a token. A token depends on no sample that is more than `lookahead`
    tokens after its own, samples depend on no later token, and a stream equals the whole from the first sample on.

    Args:
        quantizer: the bottleneck; its `dim` is the number of channels of the latents. With `ResidualVQ`, its `dropout`
            trains the decoder for fewer levels too.
        sample_rate: samples a second.
        seconds: of the sounds that it is trained on; it codes any length.
        ratios: how much each step of the decoder lengthens the sound, in order; the encoder takes them in reverse.
        channels: of the convolutions at the rate of samples; they double with each step.
        width: the most channels, and those at the rate of tokens.
        units: residual units a step, dilated by 1, 2, 4, ...
        blocks: at the rate of tokens, in the encoder and again in the decoder; 0 for none.
        front: from samples to tokens: `conv`; or `mel`, four log-mel spectra a token, which is much quicker, and learns
            in fewer steps.
        head: from tokens to samples: `conv`, the mirror image of the encoder; or `istft`, an inverse Fourier transform
            of spectra that a linear map draws (Vocos, Siuzdak 2023), which is much quicker.
        lookahead: tokens that the encoder waits for before it makes one: each adds its length to the latency, and the
            first one raises the quality much.
        overlap: the part of a token, in (0, 1], over which spectra fade into the next; for `istft` only.

    Raises:
        UserError: sizes that are too small.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        sample_rate: int = 16000,
        seconds: float = 1.0,
        ratios: tuple[int, ...] = (8, 5, 4, 2),
        channels: int = 16,
        width: int = 256,
        units: int = 1,
        blocks: int = 4,
        front: Literal["conv", "mel"] = "conv",
        head: Literal["conv", "istft"] = "conv",
        lookahead: int = 0,
        overlap: float = 1.0,
    ) -> None:
        super().__init__()
        samples = round(seconds * sample_rate)
        if not ratios or min(sample_rate, samples, *ratios, channels, width) < 1 or min(units, blocks, lookahead) < 0:
            sizes = f"{sample_rate}, {seconds:g}, {tuple(ratios)}, {channels}, {width}, {units}, {blocks}, {lookahead}"
            raise UserError(
                "sample_rate, seconds in samples, ratios, channels and width must be at least 1, units, blocks and"
                f" lookahead at least 0; got {sizes}"
            )
        if front not in ("conv", "mel") or head not in ("conv", "istft") or not 0 < overlap <= 1:
            raise UserError(
                f"front must be conv or mel, head conv or istft, and overlap lie in (0, 1]; got {front}, {head},"
                f" {overlap:g}"
            )
        stride = math.prod(ratios)
        self.sample_rate, self.sample_shape = sample_rate, (1, samples)
        self.spec = audio_spec(quantizer.kind, quantizer.size, quantizer.levels, samples, stride, sample_rate)
        self.lookahead, self.latency = lookahead, (1 + lookahead) * stride
        self.quantizer = quantizer
        if front == "conv":
            self.encoder = seanet_encoder(ratios, channels, width, units, blocks, quantizer.inputs)
        else:
            self.encoder = mel_encoder(sample_rate, stride, width, blocks, quantizer.inputs)
        self.decoder = frame_decoder(quantizer.dim, width, blocks)
        self.head: nn.Module
        if head == "conv":
            self.head = seanet_head(ratios, channels, width, units)
        else:
            self.head = SpectralHead(width, stride, max(1, round(overlap * stride)))

    @property
    def last_layer(self) -> nn.Parameter:
        return last_weight(self.head)

    def encode(self, x: Tensor) -> Tokens:
        stream = self.streaming()
        values = torch.cat([stream.encode(x).values, stream.finish().values], dim=1)
        return Tokens(values, (values.shape[1], 1, 1))

    def forward(self, x: Tensor) -> Reconstruction:
        padded = F.pad(self.filled(self.check_samples(x)), (0, self.lookahead * self.spec.stride))
        quantized = self.quantizer(self.latents(padded, {})[:, self.lookahead :])
        sound = self.samples(quantized.values, x.shape[2], {})
        return Reconstruction(sound, raster(quantized.indices), quantized.losses)

    def streaming(self) -> "CodecStream":
        return CodecStream(self)

    def latents(self, x: Tensor, state: State) -> Tensor:
        """The next samples (B, 1, T) -> (B, t, 1, 1, quantizer.inputs), late by `lookahead`. Writes to the state."""
        return rearrange(self.encoder(self.filled(x), state), "b c t -> b t 1 1 c")

    def samples(self, codes: Tensor, length: int, state: State) -> Tensor:
        codes = rearrange(codes.to(self.last_layer.dtype), "b t 1 1 c -> b c t").contiguous()
        return self.head(self.decoder(codes, state), state)[..., :length]


class CodecStream(QuantizedStream):
    """A sound that is coded while it arrives.

    A codec that looks ahead makes the tokens of a chunk when later ones have come, so that a chunk may have fewer
    tokens than its samples, or none; `finish` gives those that wait when no more is to come.
    """

    def __init__(self, codec: SEANetCodec) -> None:
        super().__init__(codec)
        self._codec, self.finished = codec, False
        self._early = codec.lookahead  # latents to come that belong to no token, but to silence before the first one

    def encode_chunk(self, x: Tensor) -> Tokens:
        if self.finished:
            raise UserError("this stream encodes no more: it is finished")
        state = dict(self.state)
        latents = self._codec.latents(x, state)
        early = min(self._early, latents.shape[1])
        tokens = raster(self._codec.quantizer.encode(latents[:, early:]))
        self.state, self._early = state, self._early - early
        return tokens

    @torch.inference_mode(False)
    @torch.no_grad()
    def finish(self) -> Tokens:
        """The tokens, perhaps none, that wait for what comes after the last chunk, which is silence. The stream encodes
        no more. Raises UserError where nothing was encoded, or it is finished already.
        """
        if "encodes" not in self._last or self.finished:
            raise UserError("a stream is finished once, after it has encoded something")
        codec, rows = self._codec, self._last["encodes"][0]
        silence = codec.last_layer.new_zeros(rows, 1, codec.lookahead * codec.spec.stride)
        if codec.lookahead:
            tokens = self.encode_chunk(silence)
        else:
            tokens = raster(codec.quantizer.encode(silence.new_zeros(rows, 0, 1, 1, codec.quantizer.inputs)))
        self.finished = True
        self.encoded += tokens.grid[0]
        return tokens
