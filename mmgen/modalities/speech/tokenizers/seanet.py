"""Causal encoders and decoders of sound: the convolutions of SEANet, or mel spectra in and drawn spectra out, and
blocks at the rate of tokens. What came before a sound is silence to every layer.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.media.log_mel import LogMel
from mmgen.tokenizers.base import State
from mmgen.tokenizers.causal_conv import CausalConv, Chain, FrameBlock, Streamed


class ResidualUnit(Streamed):
    """x + narrow(x): ELU, a dilated convolution to half the channels, ELU, and back by a kernel of 1."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        wide = CausalConv(channels, inner, 3, dilation=dilation)
        self.branch = Chain([nn.ELU(), wide, nn.ELU(), CausalConv(inner, channels, 1)])

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x + self.branch(x, state)


class GrowTime(Streamed):
    """(b, c, t) -> (b, out, t r): a transposed convolution of kernel 2 r and stride r, trimmed on the right.

    Written as the convolution over two inputs that it is, whose r outputs then stand in order of time, which is quicker
    on a CPU.
    """

    def __init__(self, inputs: int, outputs: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.conv = CausalConv(inputs, outputs * ratio, 2)

    def forward(self, x: Tensor, state: State) -> Tensor:
        return rearrange(self.conv(x, state), "b (c r) t -> b c (t r)", r=self.ratio)


class MelFront(Streamed):
    """(b, 1, t stride) -> (b, width, t): log-mel spectra through windows that end with their token, and a linear map.

    The spectra are scaled so that the floor is -1 and a full-scale tone about 1. Several short frames a token keep
    onsets sharp.

    Args:
        sample_rate: in Hz.
        stride: samples a token.
        width: channels that come out.
        frames: of the spectrogram, a token; must divide the stride.

    Raises:
        UserError: a stride that does not divide, or is longer than the windows.
    """

    def __init__(self, sample_rate: int, stride: int, width: int, frames: int) -> None:
        super().__init__()
        if stride % frames:
            raise UserError(f"a mel front takes {frames} spectra a token, which do not divide its {stride} samples")
        self.mel, self.per_token = LogMel(sample_rate, hop=stride // frames), frames
        self.before = self.mel.n_fft - self.mel.hop
        self.project = nn.Conv1d(frames * self.mel.bins, width, 1)

    def forward(self, x: Tensor, state: State) -> Tensor:
        x = self.after_past(x, state, x.new_zeros(*x.shape[:2], self.before), 2)
        bands = 1 - self.mel.frames(x) * (2 / math.log(self.mel.floor))
        return self.project(rearrange(bands, "b c (t n) -> b (n c) t", n=self.per_token).to(self.project.weight.dtype))


class SpectralHead(Streamed):
    """(b, width, t) -> (b, 1, t hop): a linear map to magnitude and phase of each token's spectrum, its inverse Fourier
    transform, a window, and the sum of what overlaps (Vocos, Siuzdak 2023).

    Nothing runs at the rate of samples but the transform. A token's window begins where its `hop` samples do and ends
    `overlap` samples after them, faded in and out by halves of a Hann window, so that the sound is causal. A shorter
    overlap leaves less to foresee, a longer one makes smoother joints. Works in float32 at least.

    Args:
        width: channels that come in.
        hop: samples a token.
        overlap: samples, 1 to `hop`, over which one token fades into the next.
    """

    def __init__(self, width: int, hop: int, overlap: int) -> None:
        super().__init__()
        self.hop, self.overlap = hop, overlap
        self.size = hop + overlap  # samples of a window
        self.out = nn.Conv1d(width, 2 * (self.size // 2 + 1), 1)
        with torch.no_grad():
            self.out.weight.mul_(0.1)  # quiet at first, and phases near 0

    def forward(self, x: Tensor, state: State) -> Tensor:
        weight, bias, exact = self.out.weight, self.out.bias, torch.promote_types(self.out.weight.dtype, torch.float32)
        assert bias is not None
        with torch.autocast(x.device.type, enabled=False):
            spectrum = F.conv1d(x.to(exact), weight.to(exact), bias.to(exact))
            body, tail = self._windowed(spectrum).split([self.hop, self.overlap], dim=2)
            tails = self.after_past(tail, state, torch.zeros_like(tail[:, :1]), 1)
            sound = body + F.pad(tails[:, :-1], (0, self.hop - self.overlap))
        return rearrange(sound, "b t n -> b 1 (t n)").to(weight.dtype)

    def _windowed(self, spectrum: Tensor) -> Tensor:
        """(b, 2 bins, t), logarithms of magnitudes and then phases in radians -> (b, t, size) samples."""
        log_magnitude, phase = rearrange(spectrum, "b (two f) t -> two b t f", two=2)
        magnitude = log_magnitude.clamp_max(math.log(self.size)).exp()  # a full-scale tone has size / 2
        frames = torch.fft.irfft(torch.polar(magnitude, phase), n=self.size, dim=2)
        return frames * self._window(frames)

    def _window(self, like: Tensor) -> Tensor:
        """(size,) of which copies `hop` apart add up to 1."""
        fades = torch.hann_window(2 * self.overlap, dtype=like.dtype, device=like.device)
        return torch.cat([fades[: self.overlap], like.new_ones(self.hop - self.overlap), fades[self.overlap :]])


def seanet_encoder(ratios: Sequence[int], channels: int, width: int, units: int, blocks: int, out: int) -> Chain:
    """(b, 1, t n) -> (b, out, t) with n the product of the ratios, the innermost first; channels double with each step,
    up to `width`.
    """
    wide = _widths(ratios, channels, width)
    layers: list[nn.Module] = [CausalConv(1, wide[0], 7)]
    for ratio, c, more in zip(reversed(ratios), wide, wide[1:], strict=False):
        layers += [*_units(c, units), nn.ELU(), CausalConv(c, more, 2 * ratio, ratio)]
    layers += [CausalConv(wide[-1], width, 3), *(FrameBlock(width) for _ in range(blocks))]
    return Chain([*layers, nn.ELU(), CausalConv(width, out, 3)])


def mel_encoder(sample_rate: int, stride: int, width: int, blocks: int, out: int) -> Chain:
    """(b, 1, t stride) -> (b, out, t), in the place of `seanet_encoder`."""
    frames = next(count for count in (4, 3, 2, 1) if stride % count == 0)
    layers = [MelFront(sample_rate, stride, width, frames), *(FrameBlock(width) for _ in range(blocks))]
    return Chain([*layers, nn.ELU(), CausalConv(width, out, 3)])


def frame_decoder(dim: int, width: int, blocks: int) -> Chain:
    """(b, dim, t) -> (b, width, t): the decoder's part at the rate of tokens."""
    return Chain([CausalConv(dim, width, 3), *(FrameBlock(width) for _ in range(blocks))])


def seanet_head(ratios: Sequence[int], channels: int, width: int, units: int) -> Chain:
    """(b, width, t) -> (b, 1, t n): the rest of the decoder, the mirror image of the encoder's.

    Its last convolution has no weight norm: its weight is a parameter that losses can be balanced on.
    """
    wide = _widths(ratios, channels, width)[::-1]
    layers: list[nn.Module] = [CausalConv(width, wide[0], 3)]
    for ratio, c, less in zip(ratios, wide, wide[1:], strict=False):
        layers += [nn.ELU(), GrowTime(c, less, ratio), *_units(less, units)]
    return Chain([*layers, nn.ELU(), CausalConv(wide[-1], 1, 7, normed=False)])


def _widths(ratios: Sequence[int], channels: int, width: int) -> list[int]:
    """Channels before the first step of the encoder, and after each."""
    return [min(channels * 2**step, width) for step in range(len(ratios) + 1)]


def _units(channels: int, units: int) -> list[nn.Module]:
    return [ResidualUnit(channels, 2**unit) for unit in range(units)]
