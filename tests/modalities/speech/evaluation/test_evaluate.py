"""`mmgen evaluate` on speech from end to end, on runs that nobody trained, with listeners that hear nothing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from mmgen.data.build import build_source
from mmgen.evaluation.card import faults
from tests.data_modules import data_section
from tests.evaluation.commands import evaluate, refuse, rows_of
from tests.evaluation.sounds import Parrot
from tests.modalities.speech.evaluation.test_generator import Ears
from tests.spoken_runs import RATE, codec_run, speech_run
from tests.tiny_runs import tokenizer_run

pytestmark = pytest.mark.e2e
for package in ("espeakng_loader", "pesq", "pystoi", "soundfile"):
    pytest.importorskip(package)

QUICK = ["--device", "cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec that was trained on stretches of sentences, and a generator that speaks them in four voices."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = {
        "sentences": "digits", "seconds": 3.0, "sample_rate": RATE, "clips": 2, "held_out": 6, "rate": 200,
        "voices": ["en-us+f1", "en-us+m1"], "held_out_voices": ["en-us+m3"], "cache": str(folder / "cache"),
    }  # fmt: skip
    data = data_section("EspeakSpeech", **arguments)
    source = build_source({"data": data})
    codec = codec_run(folder / "codec")
    config = yaml.safe_load((codec / "config.yaml").read_text())
    cropped = data_section("EspeakSpeech", **arguments, crop=0.6)
    (codec / "config.yaml").write_text(yaml.safe_dump(config | {"data": cropped}))
    speech_run(
        folder / "gen", codec, text=source.text, data=data, voices=source.class_names, classes=len(source.class_names)
    )
    tokenizer_run(folder / "images")
    return folder


@pytest.fixture(autouse=True)
def listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    def mos(sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
        return torch.full((len(sounds),), 2.5)

    monkeypatch.setattr("mmgen.modalities.speech.evaluation.rows.get_recogniser", lambda folder, device: Parrot())
    monkeypatch.setattr("mmgen.modalities.speech.evaluation.rows.Resemblyzer", Ears)
    monkeypatch.setattr("mmgen.modalities.speech.evaluation.rows.require_dnsmos", lambda: None)
    monkeypatch.setattr("mmgen.modalities.speech.evaluation.listeners.dnsmos", mos)
    monkeypatch.setattr("mmgen.modalities.speech.evaluation.listeners.version", lambda _: "0")


def test_a_codec_s_figures_reach_its_card(runs: Path, card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(runs / "codec", *QUICK, "--wer", "--num", "4", "--card", card)
    rows = {row["metric"]: row for row in rows_of(card)}
    assert list(rows) == [
        "stoi", "pesq", "mel_distance", "si_sdr_db", "kbps", "code_usage", "code_perplexity", "wer_parrot",
        "cer_parrot", "wer_floor_parrot", "real_time_factor", "latency_ms", "streaming_error",
    ]  # fmt: skip
    assert rows["kbps"]["value"] == pytest.approx(40 * 2 * 3 / 1000)
    assert rows["latency_ms"]["value"] == 25
    assert rows["streaming_error"]["value"] < 1e-4
    for row in rows.values():
        reference = row["protocol"]["reference"]
        assert (reference["count"], reference["seconds"], reference["sample_rate"]) == (4, 3.0, RATE)  # whole clips
        assert row["protocol"]["dtype"] == "float32 network, float32 sounds"
    assert rows["wer_parrot"]["extractor"] == "parrot" and rows["wer_parrot"]["protocol"]["recogniser"] == "a parrot"
    assert faults(card) == []
    text = (card / "README.md").read_text()
    for words in ("4 clips of 3 s at 1,600 Hz of espeakspeech", "| `stoi` ↑ |", "SHA-256 of their samples"):
        assert words in text
    assert "mel_distance" in capsys.readouterr().out


def test_all_modes_speak(runs: Path, card: Path) -> None:
    modes = ["ar", "masked"]
    run = runs / "gen"
    config = yaml.safe_load((run / "config.yaml").read_text())
    members = config["model"]["init_args"]["paradigm"]["init_args"]["members"]
    assert set(modes) <= set(members)
    for mode in modes:
        evaluate(run, "--mode", mode, *QUICK, "--num", "3", "--temperature", "0", "--card", card)
    first = rows_of(card)
    recorded = [row for row in first if "mode" not in row]
    assert [row["metric"] for row in recorded] == [
        "wer_floor_parrot", "wer_codec_parrot", "speaker_similarity_real_ears", "dnsmos_real"
    ]  # fmt: skip
    assert all(row["seed"] is None and row["steps"] is None for row in recorded)
    names = ["wer_parrot", "cer_parrot", "speaker_similarity_ears", "dnsmos", "forward_passes", "tokens_per_forward"]
    names.append("seconds_per_second")
    spoken = [(row["mode"], row["metric"]) for row in first if "mode" in row]
    assert spoken == [("ar", name) for name in [*names, "first_audio_ms"]] + [("masked", name) for name in names]
    for row in first:
        assert (row["samples"], row["protocol"]["voices"]) == (3, 1)
        assert row["protocol"]["reference"]["count"] == 3
    assert faults(card) == []


def test_only_voices_that_the_generator_knows_are_spoken(runs: Path, card: Path) -> None:
    evaluate(runs / "gen", *QUICK, "--mode", "masked", "--card", card)
    source = build_source(yaml.safe_load((runs / "gen" / "config.yaml").read_text()))
    labels = torch.cat([batch["label"] for batch in source.samples("val").batches(2)])
    assert int((labels < 0).sum()) > 0
    assert {row["samples"] for row in rows_of(card)} == {int((labels >= 0).sum())}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("codec --recogniser there", "--recogniser is for --wer at a tokenizer"),
        ("codec --num 0", "--num 0 must be at least 1"),
        ("codec --mode ar", "--mode is for generators"),
        ("codec --context 2", "--context is for clips"),
        ("codec --data emoji", "is of speech, and the data has samples of shape"),
        ("gen --wer", "--wer is for tokenizers"),
        ("gen --mode mask", "did you mean 'masked'"),
        ("images --wer", "--wer is for speech"),
        ("samples.npz --wer", "--wer is for speech, and"),
    ],
)
def test_mistakes_end_in_one_line_before_any_work(
    runs: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in ("measure_speech_tokenizer", "measure_speech", "measure_recordings"):
        monkeypatch.setattr(f"mmgen.modalities.speech.evaluation.rows.{worker}", None)
    run, *options = arguments.split()
    refuse(capsys, message, runs / run, *options)
