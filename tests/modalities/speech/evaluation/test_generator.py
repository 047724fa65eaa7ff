"""Figures of generated speech, with speakers that cheat in known ways."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.data.sources import Source
from mmgen.evaluation.command import ModeSampling
from mmgen.modalities.speech.evaluation.generator import Sentences, first_audio, measure_recordings, measure_speech
from mmgen.modalities.speech.evaluation.listeners import Listeners
from mmgen.modalities.speech.sampling import SpeechSamples
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import Loaded, load_generator
from tests.evaluation.sounds import Parrot, Recordings
from tests.spoken_runs import RATE, STRIDE, TEXT, codec_run, speech_run


class Ears:
    """A judge that hears a voice in the sign of the first sample."""

    name = "ears"

    def __init__(self) -> None:
        self.protocol = {"speaker_encoder": "two ears"}

    def __call__(self, sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
        return torch.stack([torch.stack([sound[0] > 0, sound[0] <= 0]).float() for sound in sounds])


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(speech_run(folder / "gen", codec_run(folder / "codec")))


def tone(loudness: float, voice: int) -> Tensor:
    return torch.full((20 * STRIDE,), loudness if voice == 0 else -loudness)


def sentences(voices: Sequence[int] = (0, 1, 0, 1)) -> Sentences:
    """Sentence i has i + 2 words, as the parrot hears them."""
    said = ["word " * (number + 2) for number in range(len(voices))]
    sounds = [tone((number + 2) / 10, voice) for number, voice in enumerate(voices)]
    return Sentences(said, ["a"] * len(said), sounds, torch.tensor(voices))


LISTENERS = Listeners(Parrot(), Ears(), naturalness=False)


def measured(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, wanted: Sentences, speaker: Callable[[list[Tensor]], list[Tensor]]
) -> dict[str, float]:
    def speak(task: SamplingTask) -> SpeechSamples:
        conditions: dict[str, Any] = dict(task.conditions)
        assert conditions["text"] == wanted.texts and torch.equal(conditions["class"], wanted.labels)
        return SpeechSamples(torch.zeros(1), torch.tensor([40, 44]), 7, 21, 4.0, speaker(wanted.sounds), RATE)

    monkeypatch.setattr("mmgen.modalities.speech.evaluation.generator.sample_speech", speak)
    monkeypatch.setattr("mmgen.modalities.speech.evaluation.generator.first_audio", lambda *_: None)
    return measure_speech(ModeSampling(loaded, "ar"), wanted, LISTENERS).values


def test_the_recordings_themselves_score_perfectly(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    found = measured(monkeypatch, loaded, sentences(), lambda real: real)
    assert list(found) == [
        "wer_parrot", "cer_parrot", "speaker_similarity_ears", "forward_passes", "tokens_per_forward",
        "seconds_per_second",
    ]  # fmt: skip
    assert (found["wer_parrot"], found["cer_parrot"], found["speaker_similarity_ears"]) == (0, 0, 1)
    assert (found["forward_passes"], found["tokens_per_forward"]) == (21, 2)
    assert found["seconds_per_second"] == pytest.approx(4.0 / (4 * 20 * STRIDE / RATE))


def test_words_that_are_lost_and_voices_that_are_not_their_own_are_counted(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded
) -> None:
    quieter = measured(monkeypatch, loaded, sentences(), lambda real: [x - 0.1 * x.sign() for x in real])
    assert quieter["wer_parrot"] == pytest.approx(4 / 14)
    assert quieter["speaker_similarity_ears"] == 1
    turned = measured(monkeypatch, loaded, sentences(), lambda real: [-real[0], *real[1:]])
    assert (turned["wer_parrot"], turned["speaker_similarity_ears"]) == (0, 0.75)


def test_voices_are_compared_where_one_has_two_recordings(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    for voices in ((-1, -1), (0, 1)):
        assert "speaker_similarity_ears" not in measured(monkeypatch, loaded, sentences(voices), lambda real: real)


def test_recordings_are_heard_as_they_are_and_through_the_tokenizer(loaded: Loaded) -> None:
    figures = {each.name: each for each in measure_recordings(loaded, sentences(), LISTENERS, batch=3)}
    assert list(figures) == ["wer_floor_parrot", "wer_codec_parrot", "speaker_similarity_real_ears"]
    assert figures["wer_floor_parrot"].value == 0 < figures["wer_codec_parrot"].value
    assert figures["speaker_similarity_real_ears"].value == 1
    assert "4 pairs" in figures["speaker_similarity_real_ears"].protocol["similarity"]


def test_the_first_sound_is_timed_where_it_comes_before_the_last(loaded: Loaded) -> None:
    wanted = sentences()
    first = first_audio(ModeSampling(loaded, "ar"), wanted)
    assert first is not None and first.value > 0
    assert first_audio(ModeSampling(loaded, "masked"), wanted) is None


class Spelt(Recordings):
    """What is said, in words, and as the model reads it."""

    def take(self, index: Tensor) -> dict[str, Any]:
        assert self.said is not None
        text = TEXT.encode_all([self.said[place][:3] for place in index.tolist()])
        return super().take(index) | {"text": text, "label": index % 2}


class Data(Source):
    class_names = ["ada", "bob"]  # noqa: RUF012
    sample_shape, sample_rate, text = (1, 40), RATE, TEXT

    def samples(self, split: str) -> Any:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        raise NotImplementedError


def test_what_is_read_and_what_is_heard_are_two_things(loaded: Loaded) -> None:
    samples = Spelt([tone(0.1, 0)[:30], tone(0.2, 0)[:40]], ["aba cad", "big fig"])
    found = Sentences.of(loaded, Data(), samples, batch=1)
    assert (found.transcripts, found.texts) == (["aba cad", "big fig"], ["aba", "big"])
    assert [len(sound) for sound in found.sounds] == [30, 40]
    assert (found.labels.tolist(), found.voices) == ([0, 1], 2)


def test_data_that_cannot_be_said_is_told(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, data = Spelt([tone(0.1, 0)], ["aba"]), Data()
    monkeypatch.setattr(Data, "text", None)
    with pytest.raises(UserError, match="the data has no texts"):
        Sentences.of(loaded, data, samples)
    monkeypatch.setattr(Data, "text", Text(" zyxwvutsrq", 12))
    with pytest.raises(UserError, match="unknown here"):
        Sentences.of(loaded, data, samples)
