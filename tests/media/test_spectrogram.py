import numpy as np
import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.media.spectrogram import FRAMES, mel_distance_db, spectrogram, spectrogram_sheet


def tone(hertz: float, rate: int = 16000, seconds: float = 0.5) -> torch.Tensor:
    return 0.5 * torch.sin(2 * np.pi * hertz * torch.arange(round(seconds * rate)) / rate)[None]


@pytest.mark.parametrize("rate", [1600, 8000, 16000, 22050, 44100])
def test_a_column_is_ten_milliseconds_and_high_pitches_are_above(rate: int) -> None:
    low, high = (spectrogram(tone(hertz * rate, rate), rate) for hertz in (0.02, 0.3))
    assert low.shape == high.shape
    assert low.shape[0] == 3 and abs(low.shape[2] - FRAMES // 2) <= 1
    assert -1 <= low.min() <= low.max() <= 1
    rows = [int(each.sum(0)[:, 10:-10].mean(1).argmax()) for each in (low, high)]
    assert rows[0] > rows[1]


def test_silence_is_dark_and_louder_is_brighter_on_one_scale() -> None:
    silent, soft, loud = (spectrogram(gain * tone(500), 16000).mean() for gain in (0, 0.01, 1))
    assert silent < soft < loud
    assert torch.equal(spectrogram(torch.zeros(1600), 16000), spectrogram(torch.zeros(1, 1600), 16000))


def test_a_sheet_holds_all_on_one_scale_with_marks() -> None:
    sounds = [tone(300), tone(500, seconds=1.0)]
    sheet = spectrogram_sheet(sounds, 16000, ["a text", "a text that is far too long for " * 9], columns=1, times=2)
    marked = spectrogram_sheet(sounds, 16000, ["a text", "b" * 300], columns=1, times=2, marks=[[0.25], []])
    assert sheet.shape == marked.shape and sheet.shape[0] == 3
    assert sheet.shape[2] >= 2 * FRAMES and sheet.shape[1] > 4 * 80
    changed = (sheet != marked).any(0).any(0).nonzero()[:, 0]
    assert bool(((changed >= 8 + 49) & (changed <= 8 + 51)).any())
    wide = spectrogram_sheet(sounds, 16000, ["a", "b"], columns=2)
    assert wide.shape[2] > 1.9 * sheet.shape[2]
    assert spectrogram_sheet([tone(300)] * 9, 16000, ["ɐˈbʌv “x”"] * 9).shape[0] == 3


def test_how_far_two_sounds_are_apart() -> None:
    assert mel_distance_db(tone(300), tone(300), 16000) == 0
    louder = mel_distance_db(tone(300), 2 * tone(300), 16000)
    assert 0 < louder <= 6.03  # the floor keeps some of it apart
    assert mel_distance_db(tone(300), tone(2000), 16000) > louder


@pytest.mark.parametrize(("sound", "rate"), [(torch.zeros(1, 0), 16000), (torch.zeros(1, 50), 50)])
def test_what_cannot_be_drawn_is_refused(sound: torch.Tensor, rate: int) -> None:
    with pytest.raises(UserError, match="a spectrogram needs a sound"):
        spectrogram(sound, rate)
