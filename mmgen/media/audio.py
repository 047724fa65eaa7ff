"""Sounds between tensors, floats (1, T) in [-1, 1], and audio files, through soundfile and torchaudio."""

import io
import math
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.core.terminal import print_safely
from mmgen.media.folders import write_whole
from mmgen.media.sound_file import SoundInfo, import_soundfile, read_blocks, sound_info

_FULL = 0.999  # of full scale: what reaches it was most likely cut there
_CLIPPED = 1e-3  # share of the samples; a sound that only touches full scale was not cut
_LOUDEST = 2.0  # decoders overshoot 1 a little, which is cut; a file that goes further is of another scale
_SILENT = 1e-3  # of the loudest channel's peak: a channel that stays below is silent
_CANCELLED = 0.01  # of the channels' power: what is left of it when they are of opposite phase
_SURVEYED, _PIECES = 2**19, 16  # samples by which a longer file is judged, and in how many pieces
_LONGEST = 2**26  # samples that are read at once: 70 minutes at 16 kHz
_LARGEST_KERNEL = 2**25  # weights of a filter between two rates without a common divisor
_ZEROS, _ROLLOFF = 6, 0.99  # of torchaudio's filter: zeros on a side, and its width
_WEIGHTS = 2**21  # that are computed at once


@dataclass(frozen=True)
class AudioHeader:
    """Samples of each channel, samples a second, and channels (1 for mono) of a sound file, and what reading makes of
    them.

    Args:
        gains: of each channel, whose weighted sum is the sound.
        changes: what reading changes besides rate and channels, in words.
    """

    samples: int
    sample_rate: int
    channels: int
    gains: tuple[float, ...] = (1.0,)
    changes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.samples / self.sample_rate


def read_header(path: str | Path) -> AudioHeader:
    """The length, rate and channels of a sound, as `read_audio` reads it.

    Raises:
        UserError: as `sound_info`; or it holds floats that are NaN or of another scale.
    """
    return _header(os.fspath(path), sound_info(path))


def read_audio(path: str | Path, sample_rate: int, start: float = 0.0, seconds: float | None = None) -> Tensor:
    """A sound file as (1, T) float32 in [-1, 1]; several channels become their mean, another rate is resampled.

    A channel that is silent all along is no part of the mean, and channels that cancel each other are turned to one
    phase first (`AudioHeader.changes` says so).

    Args:
        path: a file of any format that soundfile reads, such as WAV, FLAC, Ogg or MP3.
        sample_rate: of the result, in Hz.
        start: where to begin, in seconds from the file's beginning.
        seconds: how long to read, at most; None for all.

    Raises:
        UserError: no such file, not a sound, an empty, damaged or truncated one, or one of NaN or of another scale; or
            it is too long to be read at once.
    """
    header, info = read_header(path), sound_info(path)
    rate = header.sample_rate
    begin = min(round(start * rate), header.samples - 1)
    left = header.samples - begin
    count = left if seconds is None else min(left, math.ceil(seconds * rate))
    most = int(_LONGEST * min(1.0, rate / sample_rate))
    require(count <= most, f"{path} is too long to be read at once: {count / rate:.4g} s; cut it into pieces")
    gains, mixed, at = torch.tensor(header.gains), torch.empty(count), 0
    for block in read_blocks(path, info, begin, count):
        data = torch.from_numpy(block)
        _check_scale(path, data)
        mixed[at : at + len(data)] = data[:, 0] * gains[0] if len(gains) == 1 else data @ gains
        at += len(data)
    require(at == count, f"{path} is cut off: it has {begin + at} samples, and its header speaks of more")
    return resample(mixed[None], rate, sample_rate).clamp(-1, 1)


def resample(x: Tensor, before: int, after: int) -> Tensor:
    """Sounds (..., T) at `before` Hz as (..., ceil(T after / before)) at `after` Hz, by a windowed sinc."""
    if before == after:
        return x
    require(min(before, after) >= 1, f"a sound at {before} Hz cannot be resampled to {after} Hz")
    low, high = sorted((before, after))
    common = math.gcd(low, high)
    if 16 * (high // common) * (high // common) > _LARGEST_KERNEL:
        return _resample_slowly(x, before, after)
    from torchaudio.functional import resample as convert

    return convert(x, before, after)


def _resample_slowly(x: Tensor, before: int, after: int) -> Tensor:
    """`resample` by torchaudio's filter, of which the weights are computed for every sample anew: for rates without a
    large common divisor, which share too few of them.
    """
    length, share = math.ceil(x.shape[-1] * after / before), _ROLLOFF * min(1.0, after / before)
    reach = math.ceil(_ZEROS / share)
    padded, taps = F.pad(x, (reach, reach + 1)), torch.arange(2 * reach + 2, device=x.device)
    parts = []
    for numbers in torch.arange(length, device=x.device).split(max(1, _WEIGHTS // len(taps))):
        places = numbers.double() * before / after
        first = places.long()
        distance = ((taps - reach) - (places - first)[:, None]).mul(share).clamp(-_ZEROS, _ZEROS)
        window = (distance * (math.pi / 2 / _ZEROS)).cos().square()
        weights = (distance.sinc() * window * share).to(x.dtype)
        parts.append((padded[..., first[:, None] + taps] * weights).sum(-1))
    return torch.cat(parts, -1)


def write_wav(x: Tensor, path: str | Path, sample_rate: int) -> None:
    """Write the `wav_bytes` of a sound. Raises UserError as they do, or where the file cannot be written."""
    data = wav_bytes(x, sample_rate)
    try:
        write_whole(path, data)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def wav_bytes(x: Tensor, sample_rate: int) -> bytes:
    """A sound (1, T) or (T,) as the bytes of a mono WAV file of 16 bits, clipped to [-1, 1]. Raises UserError where it
    is empty, or of NaN.
    """
    if x.ndim > 2 or (x.ndim == 2 and len(x) != 1):
        raise ValueError(f"a sound has shape (1, T) or (T,), got {tuple(x.shape)}")
    if not x.numel() or not x.isfinite().all():
        raise UserError("a sound without samples, or with some that are not numbers, cannot be written")
    buffer = io.BytesIO()
    import_soundfile().write(buffer, to_int16(x).flatten().numpy(), sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def to_int16(x: Tensor) -> Tensor:
    """Floats in [-1, 1] times 32768 as 16-bit integers, on the CPU."""
    return (x.detach().float().cpu() * 32768).round().clamp(-32768, 32767).to(torch.int16)


@lru_cache(4096)
def _header(path: str, info: SoundInfo) -> AudioHeader:
    gains: tuple[float, ...] = (1.0,)
    changes: list[str] = []
    if info.channels > 1 or info.floats:
        peaks, products = _survey(path, info)
        if info.floats and peaks.max() > 1:
            changes.append("floats above 1 cut")
        gains, change = _mix(peaks, products)
        changes += [change] * bool(change)
    return AudioHeader(info.samples, info.sample_rate, info.channels, gains, tuple(changes))


def _survey(path: str, info: SoundInfo) -> tuple[Tensor, Tensor]:
    """Peaks (channels,) of a file, and the sums (channels, channels) of the products of its channels: of all of a file
    of floats or a short one, of pieces from all over a longer one.
    """
    places = [(0, info.samples)]
    if not info.floats and info.samples * info.channels > _SURVEYED:
        length = _SURVEYED // _PIECES // info.channels
        places = [(number * (info.samples - length) // (_PIECES - 1), length) for number in range(_PIECES)]
    peaks, products = torch.zeros(info.channels), torch.zeros(info.channels, info.channels, dtype=torch.float64)
    for begin, count in places:
        for block in read_blocks(path, info, begin, count):
            data = torch.from_numpy(block)
            _check_scale(path, data)
            peaks = peaks.maximum(data.abs().amax(0))
            products += (data.T @ data).double()
    return peaks, products


def _mix(peaks: Tensor, products: Tensor) -> tuple[tuple[float, ...], str]:
    """The gain of each channel, and what they change besides taking the mean, empty for nothing."""
    sounding = peaks >= _SILENT * peaks.max()
    signs, change = torch.ones(len(peaks)), ""
    share = products * sounding.outer(sounding)
    if share.sum() < _CANCELLED * len(peaks) * share.trace():
        loudest = int(share.diagonal().argmax())
        signs[share[loudest] < 0] = -1.0
        change = "channels that cancel each other turned to one phase"
    if not sounding.all():
        change = f"{int((~sounding).sum())} silent channel(s) of {len(sounding)} left out"
    return tuple((signs / sounding.sum()).tolist()), change


def _check_scale(path: str | Path, data: Tensor) -> None:
    """Raises UserError where samples are NaN, or of another scale than [-1, 1]."""
    loudest = data.abs().max().item()
    require(math.isfinite(loudest), f"{path} holds samples that are not numbers (NaN or infinite)")
    if loudest > _LOUDEST:
        raise UserError(f"{path} holds samples up to {loudest:g}: a sound of floats must lie in [-1, 1]; scale it")


def open_sound(path: str | Path, sample_rate: int) -> Tensor:
    """A sound file that a command is given, as `read_audio` reads it; what is changed, and whether it is clipped, is
    reported on stderr.
    """
    header, sound = read_header(path), read_audio(path, sample_rate)
    notes = []
    if header.sample_rate != sample_rate:
        notes.append(f"resampled from {header.sample_rate} to {sample_rate} Hz")
    if header.channels > 1:
        notes.append(f"{header.channels} channels mixed to one")
    notes += header.changes
    share = (sound.abs() >= _FULL).double().mean().item()
    if share >= _CLIPPED:
        notes.append(f"clipped: {100 * share:.2g} % of the samples are at full scale")
    if notes:
        print_safely(f"mmgen: {path}: {', '.join(notes)}", file=sys.stderr)
    return sound
