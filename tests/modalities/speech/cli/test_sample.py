import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmgen.apps.cli.main import main
from mmgen.media.audio import read_audio, write_wav
from mmgen.modalities.speech.sampling import Prompt, sample_speech
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import load_generator
from tests.spoken_runs import RATE, SECONDS, STRIDE, TOKENS, VOICES, codec_run, speech_run

pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return speech_run(folder / "gen", codec_run(folder / "codec"))


def sample(run: Path, out: Path, *options: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    assert main(["sample", str(run), "--out", str(out), *options]) == 0
    return load_file(out / "samples.safetensors"), json.loads((out / "record.json").read_text())


def refused(run: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line that a mistake is answered with."""
    assert main(["sample", str(run), "--out", str(out), *options]) == 2
    assert not out.exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line


def hum(path: Path, seconds: float, rate: int = RATE) -> Path:
    write_wav(0.3 * torch.sin(torch.arange(round(seconds * rate)) * 0.2), path, rate)
    return path


@pytest.mark.parametrize("mode", ["ar", "masked"])
def test_it_says_each_text_and_draws_what_it_said(mode: str, run: Path, tmp_path: Path) -> None:
    texts = ["a bad cab", "Dead  head", "fig"]
    asked = [word for text in texts for word in ("--text", text)]
    found, record = sample(run, tmp_path / "out", "--mode", mode, *asked, "--class", "bob,ada", "--seed", "3")
    names = ["000.wav", "001.wav", "002.wav", "grid.png", "record.json", "samples.safetensors"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert found["labels"].tolist() == [1, 0, 1]
    assert found["tokens"].shape == (3, TOKENS, 2)
    assert record["texts"] == texts and record["voices"] == ["bob", "ada", "bob"]
    loaded = load_generator(run)
    spoken = sample_speech(SamplingTask(loaded, mode, {"text": texts, "class": torch.tensor([1, 0, 1])}, seed=3))
    assert torch.equal(found["tokens"], spoken.tokens)
    for number, sound in enumerate(spoken.sounds):
        written = read_audio(tmp_path / "out" / f"00{number}.wav", RATE)[0]
        torch.testing.assert_close(written, sound, atol=1e-4, rtol=0)
        assert record["spoken_seconds"][number] == pytest.approx(len(sound) / RATE, abs=1e-3)
    assert record["steps"] == spoken.steps and record["forward_passes"] == spoken.forward_passes
    with Image.open(tmp_path / "out" / "grid.png") as sheet:
        assert sheet.mode == "RGB" and sheet.height > 3 * 30


def test_texts_come_from_a_file_and_go_round(run: Path, tmp_path: Path) -> None:
    (tmp_path / "said.txt").write_text("a cab\n\n  big head \n", encoding="utf-8")
    _, record = sample(run, tmp_path / "out", "--mode", "masked", "--text", f"@{tmp_path / 'said.txt'}", "--num", "3")
    assert record["texts"] == ["a cab", "big head", "a cab"]
    assert record["voices"] == ["ada", "bob", "ada"]
    _, record = sample(run, tmp_path / "voices", "--mode", "masked", "--text", "fig", "--class", ",".join(VOICES))
    assert record["texts"] == ["fig", "fig"] and record["voices"] == VOICES


def test_a_prompt_is_gone_on_from_and_left_out(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = hum(tmp_path / "hum.wav", 0.2)
    options = ["--mode", "ar", "--text", "a cab", "--prompt", str(prompt), "--prompt_text", "big"]
    found, record = sample(run, tmp_path / "out", *options)
    loaded = load_generator(run)
    assert loaded.tokenizer is not None
    sound = read_audio(prompt, RATE)
    given = loaded.tokenizer.encode(sound[None]).values
    assert torch.equal(found["tokens"][:, : given.shape[1]], given)
    assert record["prompt_seconds"] == pytest.approx(0.2)
    assert record["spoken_seconds"][0] <= SECONDS - 0.2 + 1e-6
    spoken = sample_speech(
        SamplingTask(loaded, "ar", {"text": ["a cab"], "class": torch.tensor([0])}), [Prompt(sound, "big")]
    )
    assert torch.equal(found["tokens"], spoken.tokens)
    assert capsys.readouterr().err == ""


def test_longer_samples_where_the_model_can(run: Path, tmp_path: Path) -> None:
    found, _ = sample(run, tmp_path / "out", "--mode", "masked", "--text", "a cab", "--seconds", "1")
    assert found["tokens"].shape[1] == RATE // STRIDE


def test_a_generator_without_texts_makes_sounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = speech_run(tmp_path / "gen", codec_run(tmp_path / "codec"), text=None)
    found, record = sample(run, tmp_path / "out", "--mode", "ar", "--num", "2")
    assert len(found["tokens"]) == 2 and record["texts"] == ["", ""]
    capsys.readouterr()
    assert "trained without text" in refused(run, tmp_path / "no", capsys, "--mode", "ar", "--text", "a")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "reads texts: give --text"),
        ("--text 371", "has '1', '3', '7', unknown here"),
        ("--text abcdefghijabcdefg", "has 17 characters, and at most 16 are read"),
        ("--text @nowhere.txt", "--text @nowhere.txt cannot be read"),
        ("--text a --prompt_text b", "--prompt_text needs --prompt"),
        ("--text a --prompt LONG", "--prompt needs --prompt_text"),
        ("--text a --prompt LONG --prompt_text b", "at least a token of 0.025 s long, and leave room in the 0.60 s"),
        ("--text a --prompt EMPTY --prompt_text b", "EMPTY has no samples"),
        ("--text abcdefghij --prompt MID --prompt_text abcdefgh", "has 19 characters, and at most 16 are read"),
        ("--text a --seconds 0", "--seconds 0 must be above 0"),
        ("--text a --frames 3", "--frames is for clips and motions, and"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    options: str, told: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    import soundfile

    monkeypatch.chdir(tmp_path)
    for name, seconds in (("LONG", 2.0), ("MID", 0.2)):
        hum(tmp_path / name, seconds)
    soundfile.write("EMPTY", torch.zeros(0).numpy(), RATE, format="WAV")
    assert told in refused(run, tmp_path / "out", capsys, "--mode", "ar", *options.split())
