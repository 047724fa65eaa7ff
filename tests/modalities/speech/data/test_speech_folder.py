"""Folders of speech: layouts, transcripts, who is held out, and files that are no use."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.data.sources import Samples, SplitName
from mmgen.media.audio import read_audio
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from tests.data.training import everything

SMALL: dict[str, Any] = {"seconds": 1.0, "sample_rate": 8000, "held_out": 2}


def reads(text: Text | None, alphabet: str, length: int = 40) -> bool:
    """Whether a text has this alphabet and so many places, by default those of a second, and knows durations."""
    assert text is not None
    return (text.alphabet, text.length, text.durations is not None) == (alphabet, length, True)


def write(path: Path, seconds: float = 0.5, said: str | None = None, sample_rate: int = 8000) -> Path:
    """A sound whose samples tell its place in it, with a text beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.linspace(-0.9, 0.9, round(seconds * sample_rate)), sample_rate)
    if said is not None:
        path.with_suffix(".txt").write_text(said)
    return path


def said(source: SpeechFolder, split: SplitName) -> dict[str, str]:
    """File -> what is said in it."""
    samples = source.samples(split)
    return dict(zip(names(samples), samples.texts(torch.arange(len(samples)))))


def names(samples: Samples) -> list[str]:
    return [name.decode() for name in samples.listing.names]  # type: ignore[attr-defined]


def test_the_layout_of_ljspeech(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "wavs" / f"LJ001-000{number}.wav")
    lines = ("0|Dr. No, 1|Doctor No, one", '1|Plain "quote|Plain "quote', "2|Only|", "3|It|It")
    (tmp_path / "metadata.csv").write_text("".join(f"LJ001-000{line}\n" for line in lines))
    source = SpeechFolder(tmp_path, **SMALL)
    assert said(source, "train") == {"wavs/LJ001-0001.wav": 'Plain "quote', "wavs/LJ001-0003.wav": "It"}
    assert said(source, "val") == {"wavs/LJ001-0000.wav": "Doctor No, one", "wavs/LJ001-0002.wav": "Only"}
    assert (source.class_names, source.sample_rate, source.sample_shape) == ([], 8000, (1, 8000))
    assert source.text is not None
    assert reads(source.text, "".join(sorted(set('doctor no, oneplain "quoteonlyit'))))
    batch = everything(source, "train")
    assert batch["label"].tolist() == [-1, -1]
    assert [source.text.decode(row) for row in batch["text"]] == ['plain "quote', "it"]


def test_the_layout_of_librispeech_and_libritts(tmp_path: Path) -> None:
    for speaker, chapter in (("84", "1"), ("1272", "5"), ("1272", "6")):
        folder = tmp_path / "LibriSpeech" / speaker / chapter
        lines = []
        for number in range(2):
            name = f"{speaker}-{chapter}-{number:04d}"
            write(folder / f"{name}.flac")
            lines.append(f"{name} WHAT {speaker} SAYS {number}\n")
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
        for number in range(2):
            path = write(tmp_path / "LibriTTS" / "dev" / speaker / chapter / f"{speaker}_{chapter}_{number}.wav")
            path.with_suffix(".original.txt").write_text("no")
            path.with_suffix(".normalized.txt").write_text(f"What {speaker} says {number}\n")
    speech = SpeechFolder(tmp_path / "LibriSpeech", **SMALL)
    tts = SpeechFolder(tmp_path / "LibriTTS", **SMALL)
    for source in (speech, tts):
        assert source.class_names == ["1272", "84"]
        assert everything(source, "train")["label"].tolist() == [0, 0, 1]
        assert reads(source.text, "".join(sorted(set("what 1272 says 084"))))
    assert said(speech, "train")["1272/5/1272-5-0001.flac"] == "WHAT 1272 SAYS 1"
    assert said(tts, "val")["dev/84/1/84_1_0.wav"].strip() == "What 84 says 0"
    for split in ("train", "val"):
        assert everything(speech, split)["text"].equal(everything(tts, split)["text"])


def test_plain_folders(tmp_path: Path) -> None:
    for speaker in ("ann", "bob"):
        for number in range(2):
            write(tmp_path / "pairs" / speaker / f"{number}.wav", said=f"Hear {speaker}")
    pairs = SpeechFolder(tmp_path / "pairs", **SMALL)
    assert pairs.class_names == ["ann", "bob"]
    assert said(pairs, "val") == {"ann/0.wav": "Hear ann", "bob/0.wav": "Hear bob"}
    for name, lines in (
        ("transcripts.txt", "a.wav|One\nb|Two | three\ndeep/c.flac|Four\n\nnothing\n"),
        ("transcripts.tsv", "a\tOne\nb\tTwo | three\nc\tFour\n"),
    ):
        folder = tmp_path / name.replace(".", "_")
        for file in ("a.wav", "b.wav", "deep/c.flac"):
            write(folder / file)
        (folder / name).write_text(lines)
        listed = SpeechFolder(folder, **SMALL)
        assert said(listed, "train") | said(listed, "val") == {
            "a.wav": "One", "b.wav": "Two | three", "deep/c.flac": "Four",
        }  # fmt: skip
        assert listed.class_names == []  # not all files lie in folders


def test_everything_one_folder_too_deep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lj, plain = tmp_path / "lj", tmp_path / "plain"
    for number in range(4):
        write(lj / "LJSpeech-1.1" / "wavs" / f"{number}.wav")
        write(plain / "data" / ("ann", "bob")[number % 2] / f"{number}.wav", said=f"text {number}")
        write(tmp_path / "one" / "sounds" / f"{number}.wav", said=f"text {number}")
    (lj / "LJSpeech-1.1" / "metadata.csv").write_text("".join(f"{number}|text {number}\n" for number in range(4)))
    for folder, classes, place in ((lj, [], "LJSpeech-1.1/wavs"), (plain, ["ann", "bob"], "data/ann")):
        source = SpeechFolder(folder, **SMALL)
        assert source.class_names == classes
        texts = said(source, "train") | said(source, "val")
        assert texts[f"{place}/0.wav"] == "text 0"
        assert sorted(texts.values()) == [f"text {number}" for number in range(4)]
        one = place.split("/")[0]
        assert (
            f"{folder}: all is in its one folder {one}, which is read in its place, and is no class" in caplog.messages
        )
    assert SpeechFolder(tmp_path / "one", **SMALL).class_names == []


def test_folders_of_splits_are_no_speakers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("Train", "validation"):
        for number in range(2):
            write(tmp_path / "flat" / split / f"{number}.wav", said="hum")
            write(tmp_path / "deep" / split / "ann" / f"{number}.wav", said="hum")
            write(tmp_path / "mixed" / split / f"{number}.wav", said="hum")
    write(tmp_path / "mixed" / "ann" / "0.wav", said="hum")
    assert SpeechFolder(tmp_path / "flat", **SMALL).class_names == []
    assert SpeechFolder(tmp_path / "deep", **SMALL).class_names == ["ann"]
    no_speakers = "the folders Train, validation are no speakers; what is held out is said by data.source.held_out"
    assert f"{tmp_path / 'flat'}: {no_speakers}" in caplog.messages
    with pytest.raises(UserError, match="has a folder Train beside ann: a split or a speaker"):
        SpeechFolder(tmp_path / "mixed", **SMALL)


def test_held_out_speakers_are_no_class(tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path / f"s{number % 4}" / f"{number}.wav", said="hm")
    source = SpeechFolder(tmp_path, **(SMALL | {"held_out": 3}), held_out_by="speakers")
    assert (source.class_names, source.held_out_speakers) == (["s1", "s2"], ["s0", "s3"])
    assert {name[:2] for name in names(source.samples("val"))} == {"s0", "s3"}
    assert everything(source, "val")["label"].tolist() == [-1] * 6
    assert everything(source, "train")["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert everything(source, "train")["sample"].tolist() == [3, 4, 5, 6, 7, 8]


def test_a_batch_is_sound_silence_and_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.wav", 0.5, "a")
    write(tmp_path / "b.wav", 1.0, "b", sample_rate=16000)
    write(tmp_path / "c.wav", 0.25, "c", sample_rate=22050)
    soundfile.write(tmp_path / "d.wav", np.zeros((4000, 2)), 8000)
    (tmp_path / "d.txt").write_text("d")
    source = SpeechFolder(tmp_path, **SMALL)
    train, val = everything(source, "train"), everything(source, "val")
    assert (train["length"].tolist(), val["length"].tolist()) == ([8000, 4000], [4000, 2000])
    assert val["x"].shape == (2, 1, 8000)
    assert val["x"][0, :, :4000].equal(read_audio(tmp_path / "a.wav", 8000))
    assert not val["x"][0, :, 4000:].any()
    assert train["x"][0].equal(read_audio(tmp_path / "b.wav", 8000))
    assert caplog.messages == [
        f"{tmp_path}: 16000 Hz resampled to 8000 Hz in 1 sound(s) (b.wav)",
        f"{tmp_path}: 2 channels turned to their mean in 1 sound(s) (d.wav)",
        f"{tmp_path}: 22050 Hz resampled to 8000 Hz in 1 sound(s) (c.wav)",
    ]


def test_conversions_of_channels_and_scale_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hum = 0.5 * np.sin(np.arange(4000) / 5)
    for name, sound in (("opposed", [hum, -hum]), ("left", [hum, 0 * hum]), ("loud", [3 * hum]), ("odd", [hum])):
        rate = 7919 if name == "odd" else 8000
        soundfile.write(tmp_path / f"{name}.wav", np.stack(sound, 1), rate, subtype="FLOAT")
        (tmp_path / f"{name}.txt").write_text("hum")
    source = SpeechFolder(tmp_path, **SMALL)
    train, val = everything(source, "train"), everything(source, "val")
    assert train["x"].abs().amax((1, 2)).tolist() == pytest.approx([1.0, 0.5], abs=1e-3)
    assert val["x"].abs().amax((1, 2)).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert sorted(message.removeprefix(f"{tmp_path}: ") for message in caplog.messages) == [
        "1 silent channel(s) of 2 left out in 1 sound(s) (left.wav)",
        "2 channels turned to their mean in 2 sound(s) (left.wav)",
        "7919 Hz resampled to 8000 Hz in 1 sound(s) (odd.wav)",
        "channels that cancel each other turned to one phase in 1 sound(s) (opposed.wav)",
        "floats above 1 cut in 1 sound(s) (loud.wav)",
    ]


def useless(folder: Path) -> None:
    write(folder / "bad_empty.wav", said="x").write_bytes(b"")
    write(folder / "bad_long.wav", 1.5, "x")
    write(folder / "bad_none.wav", 0.0, "x")
    write(folder / "bad_short.wav", 0.05, "x")
    write(folder / "bad_text.wav", said="x").write_text("no sound")


def test_useless_files_are_skipped_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    useless(tmp_path)
    for number in range(4):
        write(tmp_path / f"silent{number}.wav")
    write(tmp_path / "blank.wav", said=" \n")
    write(tmp_path / "good_a.wav", said="abba")
    write(tmp_path / "good_b.wav", said="BAB")
    write(tmp_path / "greek.wav", said="abγ")
    write(tmp_path / "wordy.wav", said="abababab")
    source = SpeechFolder(tmp_path, **SMALL, alphabet="ab", max_text=5)
    assert said(source, "val") == {"good_a.wav": "abba"}
    assert said(source, "train") == {"good_b.wav": "BAB"}
    assert reads(source.text, "ab")
    assert everything(source, "val")["sample"].tolist() == [6]  # the useless ones have numbers too
    assert caplog.messages == [
        f"{tmp_path}: 5 file(s) skipped: blank.wav, silent0.wav, silent1.wav, ..., the first because it has no"
        " transcript",
        f"{tmp_path}: 5 file(s) skipped: bad_empty.wav, bad_long.wav, bad_none.wav, ..., the first because"
        f" {tmp_path}/bad_empty.wav is not a sound, or a damaged one (it is empty)",
        f"{tmp_path}: 2 file(s) skipped: greek.wav, wordy.wav, the first because 'γ' is not in data.source.alphabet",
    ]


def test_a_file_is_held_out_where_those_that_would_be_are_no_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.wav", said="a").write_bytes(b"no sound")
    for name in "bcd":
        write(tmp_path / f"{name}.wav", said=name)
    source = SpeechFolder(tmp_path, **(SMALL | {"held_out": 10}))
    assert (names(source.samples("val")), names(source.samples("train"))) == (["b.wav"], ["c.wav", "d.wav"])
    assert caplog.messages[1:] == [f"{tmp_path}: no file that would be held out can be used; b.wav is instead"]


def test_what_is_not_given_is_told_by_the_transcripts_of_usable_files(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", said="Ab")
    write(tmp_path / "b.wav", said="abc  d")
    write(tmp_path / "long.wav", 3.0, said="an unusable transcript")
    assert reads(SpeechFolder(tmp_path, **SMALL).text, " abcd")
    assert reads(SpeechFolder(tmp_path, **SMALL, max_text=60).text, " abcd", 60)
    assert reads(SpeechFolder(tmp_path, **SMALL, alphabet="Ab").text, "Ab")
    assert SpeechFolder(tmp_path, **SMALL, check=False).text == Text(" abcdeilnprstu", 22)


def test_crops_are_keyed_by_sample_and_epoch_and_need_no_text(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.wav", 3.0)
    write(tmp_path / "4.wav", 0.3)
    source = SpeechFolder(tmp_path, **SMALL, crop=0.5)
    samples, index = source.samples("train"), torch.arange(2)
    assert (source.text, source.sample_shape, len(samples)) == (None, (1, 4000), 2)
    first = samples.take(index)
    assert set(first) == {"x", "length", "label", "sample"}
    assert first["x"][1].equal(read_audio(tmp_path / "3.wav", 8000, 0, 0.5))
    epochs = torch.arange(40)
    x = samples.augmented(torch.zeros_like(epochs), epochs, 1)["x"]
    begins = x[:, 0, 0]
    assert begins.unique().numel() == 40
    assert begins.min() < -0.8
    assert 0.4 < begins.max() < 0.61  # the last stretch begins after 2.5 of 3 s
    mixed = samples.augmented(torch.tensor([1, 0]), torch.tensor([0, 7]), 1)["x"]
    assert mixed[1].equal(x[7])
    assert not samples.augmented(torch.tensor([0]), torch.tensor([7]), 2)["x"][0].equal(x[7])
    with pytest.raises(UserError, match="these samples have no transcripts"):
        samples.texts(index)
    assert everything(source, "val")["length"].tolist() == [4000, 4000, 2400]


def test_damage_that_shows_when_a_file_is_read(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / f"{number}.wav", said="a")
    samples = SpeechFolder(tmp_path, **SMALL).samples("train")
    soundfile.write(tmp_path / "1.wav", np.full(4000, np.nan, np.float32), 8000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"1.wav holds samples that are not numbers"):
        samples.take(torch.tensor([0]))
    write(tmp_path / "3.wav", 2.0, said="a")
    unchecked = SpeechFolder(tmp_path, **SMALL, check=False).samples("train")
    with pytest.raises(UserError, match=r"3.wav has 2 s, more than the 1 s of data.source.seconds"):
        unchecked.take(torch.tensor([1]))
    assert unchecked.augmented(torch.tensor([1]), torch.tensor([0]), 0)["sample"].tolist() == [5]


def test_a_folder_without_one_usable_file_is_refused_in_one_line(tmp_path: Path) -> None:
    useless(tmp_path / "useless")
    for number in range(3):
        write(tmp_path / "silent" / f"{number}.wav")
        write(tmp_path / "one" / "speaker" / f"{number}.wav", said="a")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "damaged" / "a.wav").with_suffix(".txt").write_bytes(b"\xff\xff")
    for folder, more, message in (
        ("useless", {}, r"has no usable sounds for the train split: several are needed of 1 s at most, with"),
        ("silent", {}, r"silent has no usable sounds for the train split"),
        ("empty", {}, r"empty holds no sounds: put wav or flac files into it"),
        ("none", {}, r"none is no folder: data.source.root must hold sound files"),
        ("one", {"held_out_by": "speakers"}, r"one tells of 0 speaker\(s\), so none can be held out"),
        ("damaged", {}, r"transcript .*a.txt, line 1: this is not UTF-8"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            SpeechFolder(tmp_path / folder, **SMALL, **more).samples("train")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": 1}, "data.source.held_out must be at least 2"),
        ({"max_text": 0}, "data.source.max_text must be at least 1"),
        ({"held_out_by": "voices"}, "data.source.held_out_by 'voices' is not one of files, speakers"),
        ({"seconds": 0}, "data.source.seconds must be at least one sample"),
        ({"crop": 0.0}, "data.source.crop must be at least one sample"),
        ({"sample_rate": -1}, "data.source.sample_rate must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SpeechFolder(tmp_path, **changes)
