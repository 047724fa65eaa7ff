"""Sound by way of its mel spectrogram, which a small network codes and a vocoder makes audible."""

import math
from typing import Literal

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.media.log_mel import LogMel
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer, audio_spec
from mmgen.modalities.speech.tokenizers.vocoder import GriffinLim, Vocoder
from mmgen.tokenizers.base import Reconstruction, State, TokenizerStream
from mmgen.tokenizers.causal_conv import CausalConv, FrameBlock
from mmgen.tokenizers.quantized import QuantizedTokenizer, raster
from mmgen.tokenizers.quantizers import Quantizer

_KERNEL = 7  # frames, or tokens, that a block sees


class MelTokenizer(QuantizedTokenizer, AudioTokenizer):
    """Autoencoder of log-mel spectrograms around any quantizer, and a vocoder that is not trained.

    Only the spectrogram is coded: `forward` compares spectrograms, scaled so that the floor is -1 and a full-scale tone
    about 1. Nothing runs at the rate of samples but the transform. Phases are lost; the vocoder finds others.

    A convolution over frames, `pool` frames folded into a token, blocks of ConvNeXt (Liu et al. 2022) at the rate of
    tokens; the decoder mirrors it, with one block at the rate of frames that smooths the joints of tokens.

    Args:
        quantizer: the bottleneck; its `dim` is the number of channels of the latents.
        sample_rate: samples a second.
        seconds: of the sounds that it is trained on; it codes any length.
        n_fft: samples of the transform's window, as for `LogMel`.
        hop: samples a frame of the spectrogram.
        pool: frames a token; hop x pool is the number of samples a token.
        bins: mel bands.
        floor: magnitude below which all is silence; 1 is about a full-scale tone.
        scale: of the mel bands, slaney or htk, as for `LogMel`.
        width: channels of the network.
        blocks: at the rate of tokens, in the encoder and again in the decoder.
        causal: no token depends on frames after its own, nor a frame on later tokens. A frame itself is a window, which
            looks (n_fft - hop) / 2 samples ahead.
        vocoder: makes sound of the decoded spectrogram; GriffinLim by default.

    Raises:
        UserError: sizes that are too small, spectrograms that cannot be, or that the vocoder does not take.
    """

    decoder: nn.Sequential

    def __init__(
        self,
        quantizer: Quantizer,
        sample_rate: int = 16000,
        seconds: float = 1.0,
        n_fft: int = 512,
        hop: int = 160,
        pool: int = 2,
        bins: int = 80,
        floor: float = 1e-4,
        scale: Literal["slaney", "htk"] = "slaney",
        width: int = 256,
        blocks: int = 4,
        causal: bool = False,
        vocoder: Vocoder | None = None,
    ) -> None:
        super().__init__()
        samples = round(seconds * sample_rate)
        if min(samples, pool, width) < 1 or blocks < 0:
            raise UserError(
                "seconds in samples, pool and width must be at least 1, blocks at least 0; got"
                f" {seconds:g}, {pool}, {width}, {blocks}"
            )
        self.mel = LogMel(sample_rate, n_fft, hop, bins, floor, scale)
        self.vocoder = GriffinLim() if vocoder is None else vocoder
        self.vocoder.check(self.mel)
        self.sample_rate, self.sample_shape = sample_rate, (1, samples)
        self.spec = audio_spec(quantizer.kind, quantizer.size, quantizer.levels, samples, hop * pool, sample_rate)
        self.quantizer = quantizer
        self.encoder = nn.Sequential(
            FrameConv(bins, width, 3, causal),
            Rearrange("b (t p) c -> b t (p c)", p=pool),
            nn.Linear(pool * width, width),
            *(MelBlock(width, causal) for _ in range(blocks)),
            nn.LayerNorm(width),
            nn.Linear(width, quantizer.inputs),
        )
        self.decoder = nn.Sequential(
            FrameConv(quantizer.dim, width, 3, causal),
            *(MelBlock(width, causal) for _ in range(blocks)),
            nn.Linear(width, pool * width),
            Rearrange("b t (p c) -> b (t p) c", p=pool),
            MelBlock(width, causal),
            nn.LayerNorm(width),
            nn.Linear(width, bins),
        )

    @property
    def last_layer(self) -> nn.Parameter:
        return self.decoder[-1].get_parameter("weight")

    def forward(self, x: Tensor) -> Reconstruction:
        """x (B, 1, T) in [-1, 1] -> the reconstruction of its spectrogram, with gradients, and as `target` the
        spectrogram itself, (B, bins, frames). Raises UserError as `encode` does.
        """
        target = self.spectrogram(x)
        quantized = self.quantizer(self._coded(target))
        return Reconstruction(self._drawn(quantized.values), raster(quantized.indices), quantized.losses, target)

    def streaming(self) -> TokenizerStream:
        """Raises UserError: frames are windows that look ahead."""
        return AudioTokenizer.streaming(self)

    def latents(self, x: Tensor, state: State) -> Tensor:
        return self._coded(self.spectrogram(x))

    def samples(self, codes: Tensor, length: int, state: State) -> Tensor:
        return self.sound(self._drawn(codes))[..., :length]

    @torch.no_grad()
    def spectrogram(self, x: Tensor) -> Tensor:
        """x (B, 1, T) in [-1, 1] -> (B, bins, frames), of whole tokens, from -1 at the floor to about 1.
        Raises UserError as `encode` does.
        """
        return 1 - self.mel(self.filled(self.check_samples(x))) * (2 / self._floor)

    @torch.no_grad()
    def sound(self, spectrogram: Tensor) -> Tensor:
        """Inverse of `spectrogram` by the vocoder: (B, bins, frames) -> (B, 1, frames hop) in [-1, 1]."""
        levels = (1 - spectrogram.float().clamp(-1, 2)) * (self._floor / 2)  # no network's guess may be without limit
        return self.vocoder(levels, self.mel).clamp(-1, 1)

    @property
    def _floor(self) -> float:
        return math.log(self.mel.floor)

    def _coded(self, spectrogram: Tensor) -> Tensor:
        latents = self.encoder(rearrange(spectrogram.to(self.last_layer.dtype), "b c t -> b t c"))
        return latents[:, :, None, None]

    def _drawn(self, codes: Tensor) -> Tensor:
        return rearrange(self.decoder(codes[:, :, 0, 0].to(self.last_layer.dtype)), "b t c -> b c t")


class FrameConv(CausalConv):
    """(b, t, inputs) -> (b, t, outputs), a convolution over frames between zeros, or behind them alone if causal."""

    def __init__(self, inputs: int, outputs: int, kernel: int, causal: bool) -> None:
        super().__init__(inputs, outputs, kernel, normed=False, causal=causal)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x.mT, {}).mT


class MelBlock(FrameBlock):
    """The block on (b, t, c)."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__(width, _KERNEL, causal)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x.mT, {}).mT
