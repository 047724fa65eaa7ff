"""Networks that tell reconstructed sounds from real ones, by their periods and by their spectra."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mmgen.core.errors import UserError
from mmgen.tokenizers.losses.discriminator import Discriminator, Verdict


class _Judge(nn.Module):
    """Convolutions over a picture of a sound, each but the last followed by a leaky ReLU and a feature.

    Args:
        picture: sounds (B, 1, T) -> (B, channels, H, W).
        convolutions: with their norms; the last one makes the logits.
        slope: of the ReLU below 0.
    """

    def __init__(self, picture: Callable[[Tensor], Tensor], convolutions: list[nn.Conv2d], slope: float) -> None:
        super().__init__()
        self.picture, self.slope = picture, slope
        self.net = nn.ModuleList(weight_norm(each) for each in convolutions)

    def forward(self, x: Tensor) -> Verdict:
        x, features = self.picture(x), []
        for convolution in self.net[:-1]:
            x = F.leaky_relu(convolution(x), self.slope)
            features.append(x)
        return Verdict(self.net[-1](x), features)


class MultiPeriod(Discriminator):
    """Looks at every p-th sample of a sound, for several p (HiFi-GAN, Kong et al. 2020, section 2.3; DAC, Kumar et al.
    2023): it hears what repeats, such as the pitch of a voice.

    The sound is folded into rows of p samples and convolved along columns only, so that a logit depends on samples of
    one phase. Periods are prime, to share as few samples as can be.

    Args:
        width: channels after the first convolution; the next three have 4, 16 and 32 times as many. 32 as published,
            for large GPUs.
        periods: p of each network.
    """

    def __init__(self, width: int = 8, periods: Sequence[int] = (2, 3, 5, 7, 11)) -> None:
        super().__init__()
        _check("MultiPeriod", "periods", width, periods, 1)
        with torch.random.fork_rng(devices=[]):  # a recipe starts from the same tokenizer with an adversary and without
            self.judges = nn.ModuleList(
                _Judge(partial(_rows, period=period), _columns(width), 0.1) for period in periods
            )

    def verdicts(self, x: Tensor) -> list[Verdict]:
        """x (B, 1, T) of any T >= 1 -> one verdict a period, logits (B, 1, about T / (81 p), p)."""
        _check_sounds(self, x)
        return [judge(x) for judge in self.judges]


class MultiSTFT(Discriminator):
    """Looks at complex spectra of a sound, at several resolutions (EnCodec, Defossez et al. 2022, section 3.4): their
    real and imaginary parts are two channels of a picture, so that it hears phases too.

    Spectra are of Hann windows that overlap by three quarters, of unit energy, and always of at least float32; beyond
    its ends a sound is silent.

    Args:
        width: channels of all convolutions but the last. 32 as published, for large GPUs.
        windows: samples of each network's windows.
    """

    def __init__(self, width: int = 8, windows: Sequence[int] = (2048, 1024, 512, 256, 128)) -> None:
        super().__init__()
        _check("MultiSTFT", "windows", width, windows, 4)
        with torch.random.fork_rng(devices=[]):
            pictures = [partial(_spectrum, window=window) for window in windows]
            self.judges = nn.ModuleList(_Judge(picture, _pictures(width), 0.2) for picture in pictures)

    def verdicts(self, x: Tensor) -> list[Verdict]:
        """x (B, 1, T) of any T >= 1 -> one verdict a window, logits (B, 1, 1 + 4 T / window, about window / 16)."""
        _check_sounds(self, x)
        return [judge(x) for judge in self.judges]


def _rows(x: Tensor, period: int) -> Tensor:
    """(B, 1, T) -> (B, 1, ceil(T / period), period), with silence at the end."""
    return F.pad(x, (0, -x.shape[-1] % period)).unflatten(-1, (-1, period))


def _spectrum(x: Tensor, window: int) -> Tensor:
    """(B, 1, T) -> (B, 2, frames, window / 2 + 1), real and imaginary parts."""
    with torch.autocast(x.device.type, enabled=False):
        sound = x.squeeze(1).to(torch.promote_types(x.dtype, torch.float32))
        hann = torch.hann_window(window, dtype=sound.dtype, device=x.device)
        hann = hann / hann.square().sum().sqrt()
        # Padding by reflection would need clips longer than half a window.
        spectrum = torch.stft(sound, window, window // 4, window=hann, pad_mode="constant", return_complex=True)
    return torch.view_as_real(spectrum).permute(0, 3, 2, 1).to(x.dtype)


def _columns(width: int) -> list[nn.Conv2d]:
    """5 x 1 convolutions: four of stride 3, one of stride 1, and the logits."""
    widths = [1, width, 4 * width, 16 * width, 32 * width]
    strided = [nn.Conv2d(a, b, (5, 1), stride=(3, 1), padding=(2, 0)) for a, b in zip(widths, widths[1:])]
    last = nn.Conv2d(widths[-1], widths[-1], (5, 1), padding=(2, 0))
    return [*strided, last, nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))]


def _pictures(width: int) -> list[nn.Conv2d]:
    """3 x 9 convolutions over time and frequency: three halve the frequencies and look ever farther in time."""
    wider = [
        nn.Conv2d(width, width, (3, 9), stride=(1, 2), dilation=(reach, 1), padding=(reach, 4)) for reach in (1, 2, 4)
    ]
    first = nn.Conv2d(2, width, (3, 9), padding=(1, 4))
    return [first, *wider, nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)]


def _check(name: str, what: str, width: int, sizes: Sequence[int], least: int) -> None:
    if width < 1 or not sizes or min(sizes) < least:
        raise UserError(
            f"{name} needs a width of at least 1 and {what} of at least {least}, got {width} and {list(sizes)}"
        )


def _check_sounds(net: Discriminator, x: Tensor) -> None:
    if x.ndim != 3 or x.shape[1] != 1 or not x.shape[2]:
        raise UserError(f"{type(net).__name__} judges sounds of shape (batch, 1, samples), got {tuple(x.shape)}")
