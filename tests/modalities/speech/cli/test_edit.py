import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.media.audio import read_audio, write_wav
from mmgen.modalities.speech import editing as library
from tests.spoken_runs import RATE, codec_run, speech_run

pytest.importorskip("soundfile")

WORDS = ["--text", "a bad cab", "--to", "a big cab"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return speech_run(folder / "gen", codec_run(folder / "codec"))


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    write_wav(0.3 * torch.sin(torch.arange(777) * 0.2), tmp_path / "said.wav", RATE)
    return tmp_path / "said.wav"


def test_it_writes_a_sound_that_is_the_recording_but_for_the_span(run: Path, sound: Path, tmp_path: Path) -> None:
    options = [*WORDS, "--span", "0.2:0.3", "--margin", "0.04", "--class", "bob", "--seed", "2", "--temperature", "0.9"]
    assert main(["edit", str(run), str(sound), *options, "--out", str(tmp_path / "out")]) == 0
    names = ["edited.wav", "original.wav", "record.json", "spectrograms.png", "tokens.safetensors"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    before, after = read_audio(sound, RATE), read_audio(tmp_path / "out" / "edited.wav", RATE)
    assert torch.equal(after[:, : round(0.16 * RATE)], before[:, : round(0.16 * RATE)])
    assert torch.equal(after[:, round(0.34 * RATE) :], before[:, round(0.34 * RATE) :])
    assert not torch.equal(after, before)
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["replaced_seconds"] == record["made_seconds"] == [0.16, 0.34]
    words = shlex.split(record["command"].replace(str(tmp_path / "out"), str(tmp_path / "again")))
    assert main(words[1:]) == 0
    assert (tmp_path / "again" / "edited.wav").read_bytes() == (tmp_path / "out" / "edited.wav").read_bytes()


def test_the_span_is_found_by_a_recogniser(
    run: Path, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heard(*_: Any) -> list[tuple[str, float, float]]:
        return [("a", 0.0, 0.1), ("bad", 0.2, 0.3), ("cab", 0.35, 0.45)]

    monkeypatch.setattr(library, "word_times", heard)
    assert main(["edit", str(run), str(sound), *WORDS, "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["replaced_seconds"] == pytest.approx([0.12, 0.38])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--to", "a big cab"], "missing: text"),
        ([*WORDS, "--span", "now"], "--span 'now' must be two times in seconds"),
        ([*WORDS, "--span", "0.2:0.3", "--class", "eve"], "class 'eve' is unknown"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    options: list[str], told: str, run: Path, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["edit", str(run), str(sound), *options, "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
