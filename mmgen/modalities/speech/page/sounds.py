"""The sounds of a page: a player each, which carries the sound with it, below its spectrogram."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmgen.media.audio import wav_bytes
from mmgen.media.spectrogram import spectrogram
from mmgen.page.page import Picture, data_uri
from mmgen.page.tiles import Pixels, picture, pixels

MARK = (57, 197, 255, 255)
_MARK_WIDTH = 2  # columns


@dataclass(frozen=True)
class Player:
    """A sound that can be heard and seen.

    Args:
        uri: a data: address with the whole sound.
        label: what it is, for whom cannot see the rest.
        seconds: how long it is.
        picture: its spectrogram.
    """

    uri: str
    label: str
    seconds: float
    picture: Picture


def player(sound: Tensor, sample_rate: int, label: str, columns: int, marks: Sequence[float] = ()) -> Player:
    """One sound.

    Args:
        sound: (T,) in [-1, 1].
        sample_rate: in Hz.
        label: what it is.
        columns: of the spectrogram, at least those of the sound, so that pictures of one width have one scale of time.
        marks: seconds at which lines cross it.
    """
    drawn = pixels(spectrogram(sound, sample_rate))
    second = drawn.shape[1] / len(sound) * sample_rate
    for mark in marks:
        at = min(max(0, round(mark * second) - _MARK_WIDTH // 2), drawn.shape[1] - _MARK_WIDTH)
        drawn[:, at : at + _MARK_WIDTH] = MARK
    seconds = len(sound) / sample_rate
    alt = f"Spectrogram of {seconds:.1f} s: {label}"
    return Player(
        data_uri(wav_bytes(sound, sample_rate), "audio/wav"), label, seconds, picture(_wide(drawn, columns), alt)
    )


def columns_of(sounds: Sequence[Tensor], sample_rate: int) -> int:
    """Columns of the longest sound's spectrogram."""
    longest = max(sounds, key=len)
    return spectrogram(torch.zeros(len(longest)), sample_rate).shape[2]


def _wide(drawn: Pixels, columns: int) -> Pixels:
    """With nothing to its right, up to so many columns."""
    return np.pad(drawn, ((0, 0), (0, max(0, columns - drawn.shape[1])), (0, 0)))
