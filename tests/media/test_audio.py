"""Sounds and files: what is written is read again, at any rate and of any number of channels; bad files are named."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.audio import read_audio, read_header, resample, to_int16, wav_bytes, write_wav


def tone(seconds: float, sample_rate: int, pitch: float = 440.0) -> Tensor:
    return 0.7 * (2 * torch.pi * pitch * torch.arange(round(seconds * sample_rate)) / sample_rate).sin()[None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.wav"


def test_what_is_written_is_read_again(path: Path) -> None:
    x = torch.cat([tone(0.1, 16000), torch.tensor([[1.0, -1.0, 0.0, 2.0, -3.0]])], 1)
    write_wav(x, path, 16000)
    read = read_audio(path, 16000)
    assert read.dtype == torch.float32
    assert (read - x.clamp(-1, 1)).abs().max() <= 1 / 32768
    header = read_header(path)
    assert (header.samples, header.sample_rate, header.channels) == (1605, 16000, 1)
    assert header.seconds == 1605 / 16000
    write_wav(read, path, 16000)  # exact from the second time on
    assert read_audio(path, 16000).equal(read)
    assert soundfile.info(io.BytesIO(wav_bytes(x[0], 8000))).subtype == "PCM_16"
    assert to_int16(read).equal((read * 32768).to(torch.int16))


@pytest.mark.parametrize("sample_rate", [8000, 22050, 44100, 48000])
def test_a_tone_stays_itself_at_another_rate(path: Path, sample_rate: int) -> None:
    write_wav(tone(0.25, sample_rate), path, sample_rate)
    x = read_audio(path, 16000)
    assert x.shape == (1, 4000)
    assert (x - tone(0.25, 16000))[:, 200:-200].abs().max() < 0.01
    assert resample(tone(0.25, sample_rate), sample_rate, sample_rate).equal(tone(0.25, sample_rate))


def test_channels_become_their_mean(tmp_path: Path) -> None:
    left, right = tone(0.05, 16000)[0], tone(0.05, 16000, 700.0)[0]
    soundfile.write(tmp_path / "a.flac", torch.stack([left, right], 1).numpy(), 16000)
    assert (read_audio(tmp_path / "a.flac", 16000)[0] - (left + right) / 2).abs().max() < 2 / 32768


def test_a_stretch_is_cut_out(path: Path) -> None:
    x = tone(1.0, 16000)
    write_wav(x, path, 16000)
    assert (read_audio(path, 16000, start=0.25, seconds=0.5) - x[:, 4000:12000]).abs().max() <= 1 / 32768
    assert read_audio(path, 16000, start=0.9, seconds=0.5).shape == (1, 1600)
    assert read_audio(path, 16000, start=5, seconds=0.5).shape == (1, 1)
    assert read_audio(path, 8000, start=0.25, seconds=0.5).shape == (1, 4000)


def test_a_little_over_full_scale_is_cut(path: Path) -> None:
    soundfile.write(path, np.float32([0.5, 1.2, -1.1]), 16000, subtype="FLOAT")
    assert read_audio(path, 16000).allclose(torch.tensor([[0.5, 1.0, -1.0]]))


def floats(path: Path, *values: float) -> None:
    soundfile.write(path, np.float32(values), 16000, subtype="FLOAT")


def cut(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 9000), 16000, format="FLAC")
    path.write_bytes(path.read_bytes()[:6000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder, not a sound"),
        (lambda path: path.touch(), "is not a sound, or a damaged one"),
        (lambda path: path.write_text("hello"), "is not a sound, or a damaged one"),
        (lambda path: soundfile.write(path, np.zeros(0), 16000), "has no samples"),
        (lambda path: floats(path, 0.0, float("nan")), r"samples that are not numbers \(NaN or infinite\)"),
        (lambda path: floats(path, 0.0, float("inf")), "samples that are not numbers"),
        (lambda path: floats(path, 0.0, 300.0), r"samples up to 300: a sound of floats must lie in \[-1, 1\]"),
        (cut, "is cut off|is not a sound, or a damaged one"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(path: Path, make, message: str) -> None:
    make(path)
    with pytest.raises(UserError, match=message) as caught:
        read_audio(path, 16000)
    assert "\n" not in str(caught.value)
    assert "a.wav" in str(caught.value)


def test_what_is_no_sound_is_not_written(tmp_path: Path) -> None:
    for x in (torch.empty(1, 0), torch.tensor([[0.0, float("nan")]])):
        with pytest.raises(UserError, match="without samples, or with some that are not numbers"):
            write_wav(x, tmp_path / "a.wav", 16000)
    with pytest.raises(UserError, match="cannot be written"):
        write_wav(torch.zeros(1, 3), tmp_path / "none" / "a.wav", 16000)
    assert list(tmp_path.iterdir()) == []
