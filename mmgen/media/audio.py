"""Sounds between tensors, floats (1, T) in [-1, 1], and audio files, through soundfile and torchaudio."""

import io
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mmgen.core.errors import UserError, require

_FULL = 0.999  # of full scale: what reaches it was most likely cut there
_CLIPPED = 1e-3  # share of the samples; a sound that only touches full scale was not cut
_LOUDEST = 2.0  # decoders overshoot 1 a little, which is cut; a file that goes further is of another scale
_LARGEST_KERNEL = 2**25  # weights of a filter between two rates without a common divisor


def import_soundfile() -> ModuleType:
    """soundfile, which is optional and slow to import. Raises UserError where it is not installed."""
    try:
        import soundfile
    except ModuleNotFoundError:
        raise UserError("audio files need the package soundfile: pip install 'mmgen[speech]'") from None
    return soundfile


@dataclass(frozen=True)
class AudioHeader:
    """Samples of each channel, samples a second, and channels (1 for mono) of a sound file."""

    samples: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.samples / self.sample_rate


def read_header(path: str | Path) -> AudioHeader:
    """The length, rate and channels of a sound. Raises UserError where it is missing, empty, or not a sound."""
    with _opened(path) as file:
        return AudioHeader(file.frames, file.samplerate, file.channels)


def read_audio(path: str | Path, sample_rate: int, start: float = 0.0, seconds: float | None = None) -> Tensor:
    """A sound file as (1, T) float32 in [-1, 1]; several channels become their mean, another rate is resampled.

    Args:
        path: a file of any format that soundfile reads: WAV, FLAC, Ogg, MP3.
        sample_rate: of the result, in Hz.
        start: where to begin, in seconds from the file's beginning.
        seconds: how long to read, at most; None for all.

    Raises:
        UserError: no such file, not a sound, an empty, damaged or truncated one, or one of NaN or of another scale.
    """
    with _opened(path) as file:
        rate = file.samplerate
        begin = min(round(start * rate), file.frames - 1)
        count = file.frames - begin if seconds is None else min(math.ceil(seconds * rate), file.frames - begin)
        file.seek(begin)
        data = torch.from_numpy(file.read(count, dtype="float32", always_2d=True))
    require(len(data) >= count, f"{path} is cut off: it has {begin + len(data)} samples, and its header speaks of more")
    require(bool(data.isfinite().all()), f"{path} holds samples that are not numbers (NaN or infinite)")
    loudest = data.abs().max().item()
    if loudest > _LOUDEST:
        raise UserError(f"{path} holds samples up to {loudest:g}: a sound of floats must lie in [-1, 1]; scale it")
    return resample(data.mean(1)[None], rate, sample_rate).clamp(-1, 1)


def resample(x: Tensor, before: int, after: int) -> Tensor:
    """Sounds (..., T) at `before` Hz as (..., ceil(T after / before)) at `after` Hz, by a windowed sinc. Raises
    UserError where the rates' filter would be too large.
    """
    if before == after:
        return x
    low, high = sorted((before, after))
    common = math.gcd(low, high)
    if low < 1 or 16 * (high // common) * (high // common) > _LARGEST_KERNEL:
        raise UserError(f"a sound at {before} Hz cannot be resampled to {after} Hz: convert it to a usual rate first")
    from torchaudio.functional import resample as convert

    return convert(x, before, after)


def write_wav(x: Tensor, path: str | Path, sample_rate: int) -> None:
    """Write the `wav_bytes` of a sound. Raises UserError as they do, or where the file cannot be written."""
    data = wav_bytes(x, sample_rate)
    try:
        Path(path).write_bytes(data)
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


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """A sound file; whatever soundfile raises within becomes a UserError of one line."""
    soundfile = import_soundfile()
    require(os.path.exists(path), f"{path} does not exist")
    require(not os.path.isdir(path), f"{path} is a folder, not a sound")
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            require(file.frames > 0, f"{path} has no samples")
            yield file
    except soundfile.SoundFileRuntimeError as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise UserError(f"{path} is not a sound, or a damaged one ({reason})") from None


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
    share = (sound.abs() >= _FULL).double().mean().item()
    if share >= _CLIPPED:
        notes.append(f"clipped: {100 * share:.2g} % of the samples are at full scale")
    if notes:
        print(f"mmgen: {path}: {', '.join(notes)}", file=sys.stderr)
    return sound
