"""Sounds with changed headers: refused in a line by the look-through, or read in full, in bounded memory."""

import io
import math
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.audio import read_audio, read_header
from tests.fuzz.mutation import fuzz, mutated, refused

RATE = 16000
MOST = 2**20  # KiB


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield tmp_path_factory.mktemp("sounds")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST


def sound_bytes(form: str, codec: str | None = None, channels: int = 1) -> bytes:
    file = io.BytesIO()
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (6000, channels)) * np.linspace(0, 1, 6000)[:, None]
    soundfile.write(file, sound, RATE, format=form, subtype=codec)
    return file.getvalue()


WAVS = [sound_bytes("WAV", codec, 2) for codec in ("PCM_16", "FLOAT", "IMA_ADPCM", "ULAW")]
OTHERS = [sound_bytes(*kind) for kind in (("AIFF",), ("AU",), ("W64",), ("CAF", "ALAC_16"), ("OGG", "VORBIS"),
                                          ("OGG", "OPUS"), ("WAV", "GSM610"))]  # fmt: skip
FLAC, MP3 = sound_bytes("FLAC"), sound_bytes("MP3")


def check(data: bytes, place: Path) -> None:
    """What the look-through accepts has the length that it says, unless its samples turn out to be damaged."""
    path = place / "x"
    path.write_bytes(data)
    if refused(lambda: read_header(path), UserError):
        return
    header = read_header(path)
    assert math.isfinite(header.seconds) and header.samples > 0
    whole: list[Tensor] = []
    if refused(lambda: whole.append(read_audio(path, header.sample_rate)), UserError):
        return
    assert whole[0].shape == (1, header.samples)
    assert whole[0].isfinite().all() and whole[0].abs().max() <= 1
    begin = header.samples // 3
    stretch = read_audio(path, header.sample_rate, begin / header.sample_rate, 0.02)
    assert (stretch - whole[0][:, begin : begin + stretch.shape[1]]).abs().max() < 1e-5
    assert read_audio(path, RATE, 0.0, 0.1).isfinite().all()


@fuzz(80)
@given(data=st.sampled_from(WAVS).flatmap(lambda whole: mutated(whole, head=70)))
def test_wav(data: bytes, place: Path) -> None:
    check(data, place)


@fuzz(80)
@given(data=mutated(FLAC, head=60))
def test_flac(data: bytes, place: Path) -> None:
    check(data, place)


@fuzz(80)
@given(data=mutated(MP3, head=300))
def test_mp3(data: bytes, place: Path) -> None:
    check(data, place)


@fuzz(80)
@given(data=st.sampled_from(OTHERS).flatmap(lambda whole: mutated(whole, head=150)))
def test_other_formats(data: bytes, place: Path) -> None:
    check(data, place)
