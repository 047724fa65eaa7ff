"""A decoder's last layer that draws spectra in the place of samples."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.tokenizers.chain import State


class SpectralHead(nn.Module):
    """(b, width, t) -> (b, 1, t hop): a linear map to magnitude and phase of each token's spectrum, its inverse Fourier
    transform, a window, and the sum of what overlaps (Vocos, Siuzdak 2023).

    Nothing runs at the rate of samples but the transform, which makes it quick on a CPU. A token's window begins where
    its `hop` samples do and ends `overlap` samples after them, faded in and out by halves of a Hann window; with
    `overlap` = `hop` it is a Hann window of two hops. So the sound is causal: its samples depend on their own token
    and those before. A token says how the sound goes on for `overlap` samples after its own, before the encoder has
    seen them: a shorter overlap leaves less to foresee, a longer one makes smoother joints.

    Works in float32 at least, whatever the caller's autocast says: bfloat16 has no phases.

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
            before = state[self] if self in state else torch.zeros_like(tail[:, :1])
            tails = torch.cat([before, tail], dim=1)
            state[self] = tails[:, -1:]
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
