"""Asterisk's prompts: the package's own layout, and what is said in them."""

import gzip
from pathlib import Path

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.build import open_source
from mmgen.modalities.speech.sources.asterisk_prompts import ALPHABET, ROOT, TRANSCRIPTS, AsteriskPrompts


def test_prompts_with_transcripts(tmp_path: Path) -> None:
    source = AsteriskPrompts(**AsteriskPrompts.make_fake(tmp_path, samples=20))
    train, val = source.samples("train"), source.samples("val")
    assert (len(train), len(val)) == (18, 2)
    assert (source.sample_rate, source.sample_shape, source.classes) == (16000, (1, 16000), 0)
    assert source.text is not None
    assert (source.text.alphabet, source.text.length) == (ALPHABET, 40)
    assert val.texts(torch.arange(2)) == ["press zero, please.", "press one, please."]
    batch = train.take(torch.arange(18))
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "x": (18, 1, 16000), "length": (18,), "label": (18,), "sample": (18,), "text": (18, 40),
    }  # fmt: skip
    assert batch["length"].min() >= 8000  # resampled: 4000 samples at 8 kHz and more


def test_texts_are_spelt_as_they_are_spoken(tmp_path: Path) -> None:
    make = AsteriskPrompts.make_fake(tmp_path, samples=6)
    lines = [
        "; a remark: no prompt",
        "prompt-0: Press 1; or 2:  now!",
        "digits/1: (3 seconds of silence)",
        "prompt-2: dash [-]",
        "digits/3: <beep>",
        "prompt-4: Dial 500 or 2.5",
        "nothing",
        "digits/5:  A.M. (note: said slowly)",
    ]
    (tmp_path / "list.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    source = AsteriskPrompts(make["root"], tmp_path / "list.gz", seconds=1.0, held_out=2)
    said = {text for split in ("train", "val") for text in source.samples(split).texts(torch.arange(1))}
    assert said <= {"press one, or two, now.", "a.m.", "dash"}
    assert sum(len(source.samples(split)) for split in ("train", "val")) == 3
    assert len(AsteriskPrompts(make["root"], tmp_path / "list.gz", held_out=2, crop=0.5).samples("val")) == 2


def test_without_the_package_it_is_named(tmp_path: Path) -> None:
    make = AsteriskPrompts.make_fake(tmp_path, samples=2)
    for changes, message in (
        (
            {"root": tmp_path / "none"},
            r"prompts are not at .*none: apt-get install asterisk-core-sounds-en-wav, or set",
        ),
        ({"transcripts": tmp_path / "none"}, r"prompts are not at .*none: apt-get install asterisk"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            AsteriskPrompts(**(make | changes))
        assert "\n" not in str(caught.value)
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"data.source.transcripts: .*bad.gz cannot be read"):
        AsteriskPrompts(**(make | {"transcripts": tmp_path / "bad.gz"}))


@pytest.mark.skipif(not Path(ROOT).is_dir() or not Path(TRANSCRIPTS).is_file(), reason="the package is not installed")
def test_the_package_itself() -> None:
    source = open_source("asterisk_prompts")
    assert source.describe() == AsteriskPrompts().describe()
    samples = source.samples("val")
    assert 40 < len(samples) < 60
    batch = samples.take(torch.arange(3))
    assert batch["x"].abs().amax(2).min() > 0.2
    assert source.text is not None
    assert [source.text.decode(row) for row in batch["text"]] == samples.texts(torch.arange(3))
