"""Sound files that a command is given: read at a model's rate, with a notice of what had to be changed."""

import sys
from pathlib import Path

from torch import Tensor

from mmgen.media.audio import read_audio, read_header

_FULL = 0.999  # of full scale: what reaches it was most likely cut there
_OFTEN = 1e-3  # share of the samples; a sound that only touches full scale was not cut


def open_sound(path: str | Path, sample_rate: int) -> Tensor:
    """A sound file as (1, T) in [-1, 1] at a rate. What was changed, and whether it is clipped, is told on stderr.

    Args:
        path: a file of any format that soundfile reads.
        sample_rate: in Hz.

    Raises:
        UserError: as `mmgen.media.audio.read_audio`.
    """
    header, sound = read_header(path), read_audio(path, sample_rate)
    told = []
    if header.sample_rate != sample_rate:
        told.append(f"resampled from {header.sample_rate} to {sample_rate} Hz")
    if header.channels > 1:
        told.append(f"{header.channels} channels mixed to one")
    share = (sound.abs() >= _FULL).double().mean().item()
    if share >= _OFTEN:
        told.append(f"clipped: {100 * share:.2g} % of the samples are at full scale")
    if told:
        print(f"mmgen: {path}: {', '.join(told)}", file=sys.stderr)
    return sound
