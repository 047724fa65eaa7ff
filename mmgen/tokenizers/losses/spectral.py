"""How different two sounds are over time and frequency."""

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.shape_cache import remember

_QUIET = 0.01  # level of white noise at -40 dB: differences are not measured by less, or silence would count most
_NOISE = math.sqrt(math.pi) / 2  # mean magnitude of a complex number of random phase and unit power


@dataclass(frozen=True)
class Spectral:
    """Differences between the short-time spectra of sounds, at several resolutions.

    Magnitudes are levels: 1 is what white noise of unit power has on average, in every band and at every resolution. A
    clip is silent beyond its ends. Computed in at least float32.

    `mel`: mean absolute difference of log10 levels in mel bands, averaged over `windows` (DAC, Kumar et al. 2023), plus
    `linear` x the mean absolute difference of the levels themselves, over the mean level of the clip, at least -40 dB.
    In [0, inf), 0 for sounds that are equal up to their phases; 1 means levels wrong by a factor of 10, and a good
    codec ends below 0.2.

    `stft`: spectral convergence, the norm of the difference of magnitudes over that of the magnitudes, plus the mean
    absolute difference of their natural logarithms, averaged over `resolutions` (Parallel WaveGAN, Yamamoto et al.
    2020, section 2.2). In [0, inf); convergence starts near 1, which silence has, or above.

    Args:
        sample_rate: of the sounds in Hz.
        mel: weight of the mel loss.
        windows: samples of each Hann window; they overlap by three quarters.
        mels: bands for each window.
        linear: weight of differences of levels within the mel loss.
        stft: weight of the STFT loss.
        resolutions: (length of the transform, hop, window) of each spectrum of the STFT loss, in samples.
        floor_db: added to levels before their logarithm, in dB of noise of unit power: quieter sounds hardly count.

    Raises:
        UserError: windows that do not fit their bands, bands that are empty, a negative weight, or no weight at all.
    """

    sample_rate: int = 16000
    mel: float = 1.0
    windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    mels: tuple[int, ...] = (80, 80, 64, 32, 16)
    linear: float = 0.2
    stft: float = 0.0
    resolutions: tuple[tuple[int, int, int], ...] = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
    floor_db: float = -80.0

    def __post_init__(self) -> None:
        if min(self.mel, self.stft, self.linear) < 0 or self.mel + self.stft == 0:
            raise UserError(
                "spectral weights mel, stft and linear must be at least 0, and mel or stft above it, got"
                f" {self.mel:g}, {self.stft:g} and {self.linear:g}"
            )
        if len(self.windows) != len(self.mels) or not self.windows or min(*self.windows, 4) < 4:
            raise UserError(
                "spectral windows, of at least 4 samples, need a number of mels each, got"
                f" {list(self.windows)} and {list(self.mels)}"
            )
        if not self.resolutions or not all(0 < hop <= window <= size for size, hop, window in self.resolutions):
            raise UserError(
                "spectral resolutions are (transform, hop, window) with hop <= window <= transform, got"
                f" {list(map(list, self.resolutions))}"
            )
        for window, bands in zip(self.windows, self.mels):
            if bands < 1 or not _mel(self.sample_rate, window, bands, torch.device("cpu"), torch.float32)[1].all():
                raise UserError(
                    f"spectral window {window} cannot tell {bands} mel bands apart at {self.sample_rate} Hz: set fewer"
                )

    @property
    def weights(self) -> dict[str, float]:
        """Weights above 0 by the name of their loss."""
        return {name: weight for name, weight in (("mel", self.mel), ("stft", self.stft)) if weight}

    def __call__(self, y: Tensor, x: Tensor) -> dict[str, Tensor]:
        """y, x (B, 1, T) in [-1, 1], any T >= 1 -> weighted losses by name, scalars >= 0, those whose weight is 0
        left out. Gradients, to `y` alone, are finite everywhere. Raises UserError on samples that are no sounds.
        """
        if x.ndim != 3 or x.shape[1] != 1 or y.shape != x.shape or not x.shape[2]:
            raise UserError(
                "spectral losses compare sounds of shape (batch, 1, samples), got"
                f" {tuple(y.shape)} and {tuple(x.shape)}"
            )
        with torch.autocast(x.device.type, enabled=False):
            y, x = _precise(y.squeeze(1)), _precise(x.squeeze(1))
            terms = {"mel": self._mel_loss, "stft": self._stft_loss}
            return {name: weight * terms[name](y, x) for name, weight in self.weights.items()}

    @property
    def floor(self) -> float:
        """The level that is added."""
        return 10 ** (self.floor_db / 20)

    def _mel_loss(self, y: Tensor, x: Tensor) -> Tensor:
        losses = []
        for window, bands in zip(self.windows, self.mels):
            spectrogram, unit = _mel(self.sample_rate, window, bands, x.device, x.dtype)
            ours, theirs = spectrogram(y) / unit, spectrogram(x) / unit
            loss = ((ours + self.floor).log10() - (theirs + self.floor).log10()).abs().mean()
            if self.linear:
                level = theirs.mean((1, 2)).clamp_min(_QUIET)
                loss = loss + self.linear * ((ours - theirs).abs().mean((1, 2)) / level).mean()
            losses.append(loss)
        return torch.stack(losses).mean()

    def _stft_loss(self, y: Tensor, x: Tensor) -> Tensor:
        losses = []
        for size, hop, window in self.resolutions:
            ours, theirs = (_levels(each, size, hop, window) for each in (y, x))
            logarithmic = ((ours + self.floor).log() - (theirs + self.floor).log()).abs().mean()
            quiet = _QUIET * math.sqrt(theirs[0].numel()) / _NOISE  # the norm of such noise
            norms = torch.linalg.vector_norm(theirs, dim=(1, 2)).clamp_min(quiet)
            differences = torch.linalg.vector_norm(ours - theirs, dim=(1, 2))
            losses.append((differences / norms).mean() + logarithmic)
        return torch.stack(losses).mean()


def _levels(x: Tensor, size: int, hop: int, window: int) -> Tensor:
    """x (B, T) -> its spectrum's levels (B, size / 2 + 1, frames)."""
    hann = torch.hann_window(window, dtype=x.dtype, device=x.device)
    unit = hann.square().sum().sqrt() * _NOISE
    spectrum = torch.stft(x, size, hop, window, hann / unit, pad_mode="constant", return_complex=True)
    return spectrum.abs()


@remember(maxsize=32)
def _mel(rate: int, window: int, bands: int, device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    """x (B, T) -> magnitudes in mel bands (B, bands, frames); and (bands, 1), those of white noise of unit power."""
    from torchaudio.transforms import MelSpectrogram  # slow to import

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*mel filterbank has all zero.*")  # told by the caller
        options = {"hop_length": window // 4, "n_mels": bands, "power": 1.0, "pad_mode": "constant"}
        spectrogram = MelSpectrogram(rate, window, **options).to(device, dtype)
    unit = spectrogram.spectrogram.window.square().sum().sqrt() * _NOISE * spectrogram.mel_scale.fb.sum(0)
    return spectrogram, unit[:, None]


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
