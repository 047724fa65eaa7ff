"""Spoken sentences: each clip a function of its number alone, held-out ones of other words, recorded once."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.core.characters import NO_SYMBOL
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.modalities.speech.sources.espeak import espeak
from mmgen.modalities.speech.sources.espeak_speech import IPA, VOICES, EspeakSpeech
from mmgen.modalities.speech.sources.sentences import ALPHABET, DIGITS, DRAWS, KINDS, longest, sentence, vocabulary
from tests.data.training import everything
from tests.data_modules import data_module

FEW: dict[str, Any] = {"clips": 5, "held_out": 3, "voices": ["en-us+m1", "en-us+f2"], "seconds": 4.0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_grammar_says_what_it_promises() -> None:
    numbers = Draws(0, torch.arange(4000)).uniform("test", DRAWS).tolist()
    for kind in KINDS:
        said = [sentence(kind, row) for row in numbers]
        assert all(set(each) <= set(ALPHABET) for each in said)
        assert max(map(len, said)) <= longest(kind)
    assert longest("digits") == len("three, three, three, three, three")
    digits = [sentence("digits", row).split(", ") for row in numbers]
    assert {len(row) for row in digits} == {3, 4, 5}
    assert {digit for row in digits for digit in row} == set(DIGITS)
    assert not any(one == other for row in digits for one, other in zip(row, row[1:]))
    words = {word for row in numbers for word in sentence("words", row).split()}
    assert words | set(DIGITS) == set(vocabulary())
    mixed = [sentence("mixed", row).split(", ")[0] in DIGITS for row in numbers]
    assert 0.45 < sum(mixed) / len(mixed) < 0.55


def test_the_same_words_sound_the_same_whatever_was_said_before() -> None:
    with espeak() as speaker:
        first = speaker.speak("three, seven", "en-us+m1", 150, 50)
        other = speaker.speak("my mother reads", "en-us+f2", 170, 40)
        again = speaker.speak("three, seven", "en-us+m1", 150, 50)
    with espeak() as speaker:
        afresh = speaker.speak("three, seven", "en-us+m1", 150, 50)
    assert (first.samples == again.samples).all()
    assert (first.samples == afresh.samples).all()
    assert first.phonemes == again.phonemes == "θɹˈiː, sˈɛvən"
    assert (first.samples.dtype, len(first.samples) != len(other.samples)) == ("int16", True)


def test_a_clip_depends_on_its_number_alone(cache: Path) -> None:
    many = EspeakSpeech(**FEW, cache=cache)
    few = EspeakSpeech(**(FEW | {"clips": 2, "held_out": 1}), cache=cache)
    for split in ("train", "val"):
        whole, part = everything(many, split), everything(few, split)
        count = len(part["x"])
        assert all(part[name].equal(whole[name][:count]) for name in part if name != "text")
        assert set(whole) == {"x", "length", "label", "sample", "text"}
        order = torch.tensor([2, 0])
        assert many.samples(split).take(order)["x"].equal(whole["x"][order])
    assert everything(many, "train")["sample"].tolist() == [0, 2, 4, 6, 8]
    assert everything(many, "val")["sample"].tolist() == [1, 3, 5]
    other = EspeakSpeech(**FEW, recording_seed=1, cache=cache).samples("val")
    assert other.texts(torch.arange(3)) != many.samples("val").texts(torch.arange(3))


def test_a_batch_is_sound_silence_and_text(cache: Path) -> None:
    source = EspeakSpeech(**FEW, cache=cache)
    samples = source.samples("train")
    batch, said = samples.take(torch.arange(len(samples))), samples.texts(torch.arange(5))
    assert (source.sample_rate, source.sample_shape, batch["x"].dtype) == (16000, (1, 64000), torch.float32)
    assert batch["x"].shape == (5, 1, 64000)
    assert source.text is not None
    assert (source.text.alphabet, source.text.length) == (ALPHABET, max(longest("mixed"), 160))
    assert source.text.durations is not None
    for x, length, text, words in zip(batch["x"], batch["length"], batch["text"], said, strict=True):
        assert not x[:, length:].any()
        assert x[:, length - 2000 : length].any()
        assert 0.1 < x.abs().max() <= 1
        assert source.text.decode(text) == words
        assert (text != NO_SYMBOL).sum() == len(words)
    assert {source.class_names[label] for label in batch["label"]} <= set(FEW["voices"])
    assert torch.stack([samples[0]["x"], samples[4]["x"]]).equal(batch["x"][[0, 4]])


def test_no_held_out_sentence_is_trained_on_and_no_held_out_voice_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is chosen to be said, without saying it."""
    from mmgen.modalities.speech.sources.espeak import Espeak, Utterance

    def silent(self: Espeak, text: str, voice: str, rate: int, pitch: int) -> Utterance:
        heard.add((rate, pitch))
        return Utterance(torch.zeros(500, dtype=torch.int16).numpy(), "a", [(0, 0.0)])

    heard: set[tuple[int, int]] = set()
    monkeypatch.setattr(Espeak, "speak", silent)
    voices = {"voices": ["en-us+m1", "en-us+f2"], "held_out_voices": ["en-us+m3"]}
    source = EspeakSpeech(
        "words", **voices, rate=[140, 160], clips=240, held_out=120, sample_rate=22050, cache=tmp_path
    )
    train, val = (source.samples(split) for split in ("train", "val"))
    said = [set(samples.texts(torch.arange(len(samples)))) for samples in (train, val)]
    assert not said[0] & said[1]
    assert min(map(len, said)) > 80
    assert heard == {(rate, pitch) for rate in (140, 160) for pitch in (40, 50, 60)}
    labels = [samples.take(torch.arange(len(samples)))["label"] for samples in (train, val)]
    assert [labels[0].min(), labels[0].max(), labels[1].min(), labels[1].max()] == [0, 1, -1, 1]
    assert (labels[1] + 1).bincount().min() > 20  # all voices are held out equally often
    held_out = [source.is_held_out(each) for each in said[0] | said[1]]
    assert sum(held_out) == len(said[1])


def test_a_crop_is_keyed_by_sample_and_epoch_and_has_no_text(cache: Path) -> None:
    whole = everything(EspeakSpeech(**FEW, cache=cache), "train")
    source = EspeakSpeech(**FEW, crop=0.5, cache=cache)
    samples, index = source.samples("train"), torch.arange(5)
    assert (source.text, source.sample_shape) == (None, (1, 8000))
    first = samples.take(index)
    assert set(first) == {"x", "length", "label", "sample"}
    assert first["x"].equal(whole["x"][:, :, :8000])
    assert first["length"].tolist() == [8000] * 5
    epochs = [samples.augmented(index, torch.full((5,), epoch), 3)["x"] for epoch in range(2)]
    assert not epochs[0].equal(epochs[1])
    mixed = samples.augmented(torch.tensor([4, 1]), torch.tensor([1, 0]), 3)["x"]
    assert mixed.equal(torch.stack([epochs[1][4], epochs[0][1]]))
    for x, sound in zip(epochs[0][:, 0], whole["x"][:, 0]):
        (places,) = (sound.unfold(0, 64, 1) == x[:64]).all(1).nonzero(as_tuple=True)
        assert any(sound[place : place + 8000].equal(x) for place in places)
    long = EspeakSpeech(**FEW, crop=6.0, cache=cache).samples("train").augmented(index, index, 0)
    assert long["length"].equal(whole["length"])
    assert long["x"][..., :64000].equal(whole["x"])


def test_phonemes_in_place_of_words(cache: Path) -> None:
    source = EspeakSpeech(**FEW, transcript="phonemes", cache=cache)
    words = EspeakSpeech(**FEW, cache=cache)
    batch = everything(source, "train")
    assert batch["x"].equal(everything(words, "train")["x"])
    assert source.samples("train").texts(torch.arange(5)) == words.samples("train").texts(torch.arange(5))
    assert source.text is not None
    spoken = [source.text.decode(row) for row in batch["text"]]
    assert spoken == [clip.phonemes for clip in source.samples("train").clips]  # type: ignore[attr-defined]
    assert set("".join(spoken)) <= set(IPA)
    assert "ˈ" in spoken[0]


def test_words_stand_where_the_synthesiser_speaks_them(cache: Path) -> None:
    """Where it says so, the sound of a digit begins: before that there is a pause, and after it there is none."""
    arguments = FEW | {"clips": 20, "sentences": "digits", "cache": str(cache)}
    spoken = EspeakSpeech(**arguments, timing="spoken")
    samples, text = spoken.samples("train"), spoken.text
    assert text is not None
    batch = samples.take(torch.arange(20))
    offsets = []
    for row, sound, said in zip(batch["text"], batch["x"][:, 0], samples.texts(torch.arange(20)), strict=True):
        assert text.decode(row) == said
        places = (row != NO_SYMBOL).nonzero()[:, 0]
        loud = sound.unfold(0, 160, 160).square().mean(1).sqrt() > 0.01  # of 10 ms
        onsets = [k * 0.01 for k in range(10, len(loud)) if loud[k] and not loud[k - 10 : k].any()]
        commas = [place for place, character in enumerate(said) if character == ","]
        begins = [float(places[comma + 2]) * text.pace for comma in commas]
        offsets += [min(abs(begin - onset) for onset in onsets) for begin in begins]
    assert sorted(offsets)[len(offsets) // 2] < 0.04
    assert 0 < text.spread < 0.2
    expected = EspeakSpeech(**arguments).samples("train").take(torch.arange(20))
    assert torch.equal(batch["x"], expected["x"])
    assert not torch.equal(batch["text"], expected["text"])


def test_every_default_voice_speaks_phonemes_of_the_alphabet() -> None:
    with espeak() as speaker:
        for number, voice in enumerate(VOICES):
            text = " ".join(vocabulary()[number :: len(VOICES)])
            assert set(speaker.speak(text, voice, 400, 50).phonemes) <= set(IPA)


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that are recorded from now on."""
    told: list[str] = []
    clips = EspeakSpeech._clips

    def note(self: EspeakSpeech, split: Any, count: int) -> Any:
        told.append(split)
        return clips(self, split, count)

    monkeypatch.setattr(EspeakSpeech, "_clips", note)
    return told


def test_a_recording_is_made_once_and_again_when_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told, few = recorded(monkeypatch), FEW | {"clips": 1, "held_out": 1, "crop": 1.0}

    def read() -> torch.Tensor:
        return everything(EspeakSpeech(**few), "val")["x"]

    x = read()
    assert told == ["val"]
    (place,) = (tmp_path / "mmgen" / "espeak").iterdir()
    assert read().equal(x)
    assert told == ["val"]
    content = place.read_bytes()
    place_of_length = content.index(b"[[") + 2
    damages = [
        ("its checksum differs", content[:-1] + bytes([content[-1] ^ 1])),
        ("its checksum differs", content[:place_of_length] + b"9" + content[place_of_length + 1 :]),
        ("incomplete metadata", content[:-1]),
        ("it was made with other settings", content.replace(b"en-us+m1", b"en-us+m2")),
        ("deserializing header", b""),
        ("'index'", content.replace(b'"index"', b'"other"')),
    ]
    for number, (reason, damage) in enumerate(damages):
        place.write_bytes(damage)
        caplog.clear()
        assert read().equal(x)
        assert len(told) == 2 + number
        assert f"recording {place} is damaged" in caplog.messages[0]
        assert reason in caplog.messages[0]
        assert caplog.messages[1].startswith("espeak-ng speaks 1 sentences")
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_an_interrupted_recording_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = EspeakSpeech(**FEW, cache=tmp_path)
    clip = EspeakSpeech._clip

    def interrupt(self: EspeakSpeech, speaker: Any, number: int, split: Any) -> Any:
        if number:
            raise KeyboardInterrupt
        return clip(self, speaker, number, split)

    monkeypatch.setattr(EspeakSpeech, "_clip", interrupt)
    with pytest.raises(KeyboardInterrupt):
        source.samples("train")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"recording .* cannot be kept \(.*\): make room, or set data.source.cache"):
        EspeakSpeech(**FEW, cache=tmp_path / "file").samples("val")


def test_facts_are_known_before_anything_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    data = data_module(EspeakSpeech, cache=str(tmp_path))
    assert (data.source.classes, data.source.class_names, data.source.sample_rate) == (len(VOICES), list(VOICES), 16000)
    assert (data.source.sample_shape, data.source.fps) == ((1, 64000), None)
    with pytest.raises(UserError, match=r"need the package espeakng-loader: pip install 'mmgen\[speech\]'"):
        data.samples("val")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sentences": "digit"},
            "data.source.sentences 'digit' is not one of digits, words, mixed; did you mean 'digits'",
        ),
        ({"transcript": "words"}, "data.source.transcript 'words' is not one of text, phonemes"),
        ({"timing": "exact"}, "data.source.timing 'exact' is not one of expected, spoken"),
        ({"timing": "spoken", "transcript": "phonemes"}, "set data.source.transcript to 'text'"),
        ({"clips": 0}, "data.source.clips must be at least 1"),
        ({"held_out": 0}, "data.source.held_out must be at least 1"),
        ({"rate": 20}, "data.source.rate must be 80 to 450 words a minute, got 20"),
        ({"rate": []}, "data.source.rate must be"),
        ({"pitch": [50, 101]}, "data.source.pitch must be 0 to 100"),
        ({"voices": []}, "data.source.voices needs at least one"),
        ({"held_out_voices": ["en-us+m1"]}, "none twice"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EspeakSpeech(**(FEW | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"voices": ["en-gb+zz"]}, "espeak-ng has no voice 'en-gb"),
        ({"voices": ["nobody"]}, "espeak-ng has no voice 'nobody'; a voice is a language and a variant: 'en-us"),
        ({"voices": ["de+m1"]}, "voice 'de.m1' speaks no English"),
        ({"seconds": 0.2}, r"20 sentences in a row take voice '.*' more than 0.2 s at 150 words a minute"),
    ],
)
def test_what_cannot_be_said_is_told_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        EspeakSpeech("words", **(FEW | changes), cache=tmp_path).samples("train")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
