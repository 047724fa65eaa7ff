"""The mel spectrogram that tokenizers code and vocoders make sound of."""

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.core.shape_cache import remember

_LARGEST = 2**26  # numbers in the table of a spectrogram, which a config may ask for


@dataclass(frozen=True)
class LogMel:
    """Sounds (B, 1, T) -> natural logarithms of their magnitudes in mel bands (B, bins, ceil(T / hop)).

    Frame f is seen through a Hann window of `n_fft` samples around the middle of samples f hop to (f + 1) hop; beyond
    its ends a sound is silent. Works in float32 at least, whatever autocast says.

    Args:
        sample_rate: in Hz.
        n_fft: samples of the window. At 16 kHz, 512 gives clearly better sound than 1024 after `GriffinLim`.
        hop: samples a frame.
        bins: mel bands, from 0 Hz to half the sample rate.
        floor: magnitudes below it count as it; 1 is about as loud as a full-scale tone.
        scale: `slaney` with bands of equal area, or `htk` with bands of equal height, as Vocos takes them.

    Raises:
        UserError: sizes that do not fit, a floor outside (0, 1), or bands that no frequency of the transform falls in.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop: int = 160
    bins: int = 80
    floor: float = 1e-4
    scale: Literal["slaney", "htk"] = "slaney"

    def __post_init__(self) -> None:
        if self.sample_rate < 1 or not 1 <= self.hop <= self.n_fft or self.bins < 1 or not 0 < self.floor < 1:
            raise UserError(
                "a mel spectrogram needs sample_rate and bins >= 1, 1 <= hop <= n_fft and a floor in (0, 1); got"
                f" sample_rate {self.sample_rate}, hop {self.hop}, n_fft {self.n_fft}, bins {self.bins} and floor"
                f" {self.floor:g}"
            )
        require(self.scale in ("slaney", "htk"), f"mel scale must be slaney or htk, got {self.scale}")
        table = f"n_fft {self.n_fft:,} and bins {self.bins:,} of a mel spectrogram"
        require(
            self.n_fft * self.bins <= _LARGEST, f"{table} make a table of more than {_LARGEST:,} numbers: set fewer"
        )
        if not filters(self, torch.device("cpu")).any(1).all():
            raise UserError(
                f"n_fft {self.n_fft} cannot tell {self.bins} mel bands apart at {self.sample_rate} Hz: set fewer bins"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """x (B, 1, T) in [-1, 1], any T >= 1 -> (B, bins, ceil(T / hop)), not below log(floor)."""
        left = (self.n_fft - self.hop) // 2
        return self.frames(F.pad(x, (left, self.n_fft - self.hop - left + -x.shape[2] % self.hop)))

    def frames(self, x: Tensor) -> Tensor:
        """The same for windows that lie in x (B, 1, n_fft + hop (frames - 1)) as it is -> (B, bins, frames)."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, torch.float32)).squeeze(1)
            spectrum = torch.stft(x, self.n_fft, self.hop, window=self.window(x), center=False, return_complex=True)
            return (filters(self, x.device).to(x.dtype) @ spectrum.abs()).clamp_min(self.floor).log()

    def window(self, like: Tensor) -> Tensor:
        """(n_fft,) of the device and dtype of another tensor."""
        return torch.hann_window(self.n_fft, dtype=like.dtype, device=like.device)


@remember(maxsize=16)
def filters(mel: LogMel, device: torch.device) -> Tensor:
    """(bins, n_fft / 2 + 1) float32: what each frequency gives to each band."""
    from torchaudio.functional import melscale_fbanks  # slow to import

    half, norm = mel.sample_rate / 2, "slaney" if mel.scale == "slaney" else None
    with warnings.catch_warnings(), torch.device("cpu"):
        warnings.filterwarnings("ignore", ".*mel filterbank has all zero.*")  # LogMel says it better
        bands = melscale_fbanks(mel.n_fft // 2 + 1, 0.0, half, mel.bins, mel.sample_rate, norm, mel.scale)
    return bands.T.to(device)


@remember(maxsize=16)
def inverse_filters(mel: LogMel, device: torch.device) -> Tensor:
    """(n_fft / 2 + 1, bins) float32: the pseudo-inverse of `filters`."""
    return torch.linalg.pinv(filters(mel, torch.device("cpu")).double()).float().to(device)
