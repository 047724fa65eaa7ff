"""`mmgen evaluate` on clips from end to end, on runs that nobody trained."""

import hashlib
from pathlib import Path

import pytest
import torch
import yaml

from mmgen.data.build import build_source
from mmgen.evaluation.card import faults
from mmgen.evaluation.curves import FILE
from mmgen.media.images import to_uint8
from mmgen.modalities.image.sources.digits import Digits
from tests.data_modules import data_section
from tests.evaluation.commands import evaluate, refuse, rows_of
from tests.tiny_runs import VIDEO_MIXTURE, generator_run, tokenizer_run, video_run, video_tokenizer_run

pytestmark = pytest.mark.e2e

QUICK = ["--extractor", "frames_pixels", "--device", "cpu"]
AHEAD = [*QUICK, "--context", "1"]
FREE = ["fvd_frames_pixels", "forward_passes", "tokens_per_forward", "seconds_per_sample"]
MODES = list(VIDEO_MIXTURE["init_args"]["members"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of clips of 4 frames, a generator of two modes on it, and images of both kinds."""
    folder = tmp_path_factory.mktemp("runs")
    video_tokenizer_run(folder / "tok")
    video_run(folder / "gen", folder / "tok", classes=10, actions=0)
    data = yaml.safe_load((folder / "gen" / "config.yaml").read_text())["data"]
    config = yaml.safe_load((folder / "tok" / "config.yaml").read_text())
    (folder / "tok" / "config.yaml").write_text(yaml.safe_dump(config | {"data": data}))
    generator_run(folder / "images", tokenizer_run(folder / "images_tok"))
    return folder


def test_a_tokenizer_s_figures_reach_its_card(runs: Path, card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(runs / "tok", *QUICK, "--card", card)
    rows = {row["metric"]: row for row in rows_of(card)}
    assert list(rows) == [
        "psnr_db", "ssim", "bits_per_frame", "code_usage", "code_perplexity", "rfvd_frames_pixels", "latency_ms",
        "streaming_error",
    ]  # fmt: skip
    assert rows["bits_per_frame"]["value"] == 16
    assert rows["streaming_error"]["value"] < 1e-4
    assert rows["streaming_error"]["protocol"]["tokens_encoded_otherwise"] == "0"
    assert rows["latency_ms"]["value"] > 0 and rows["latency_ms"]["protocol"]["first_frame_ms"] > 0
    for name in ("psnr_db", "ssim"):
        assert len(rows[name]["protocol"]["per_frame"]) == 4
    config = yaml.safe_load((runs / "gen" / "config.yaml").read_text())
    clips = build_source(config).samples("val").take(torch.arange(4))["x"]
    bytes_ = to_uint8(clips).permute(0, 2, 3, 4, 1).contiguous().numpy().tobytes()
    for row in rows.values():
        reference = row["protocol"]["reference"]
        assert reference["sha256"] == hashlib.sha256(bytes_).hexdigest()[:16]
        assert (reference["count"], reference["frames"], row["samples"]) == (4, 4, 4)
    assert faults(card) == []
    text = (card / "README.md").read_text()
    assert "4 clips of 4 frames of movingdigits" in text and FILE in text
    assert "bits_per_frame" in capsys.readouterr().out


def test_predictions_of_all_modes_are_measured(runs: Path, card: Path) -> None:
    evaluate(runs / "gen", *AHEAD, "--temperature", "0", "--card", card)
    first = rows_of(card)
    names = ["psnr_db", "ssim", "next_frame_gain_db", *FREE]
    assert [(row["mode"], row["metric"]) for row in first] == [(mode, name) for mode in MODES for name in names]
    for row in first:
        assert (row["settings"], row["samples"], row["seed"]) == ("context 1, temperature 0.0", 4, 0)
        about = row["protocol"]
        assert (about["context_frames"], about["predicted_frames"], about["trained_frames"]) == (1, 3, 4)
        assert (len(about["per_frame"]) == 3) if row["metric"] in names[:3] else ("per_frame" not in about)
    values = {(row["mode"], row["metric"]): row["value"] for row in first}
    assert values["ar", "psnr_db"] - values["ar", "next_frame_gain_db"] == pytest.approx(
        values["block", "psnr_db"] - values["block", "next_frame_gain_db"], abs=1e-3
    )  # copying is equally good in both
    assert faults(card) == []


def test_a_rollout_is_measured_on_longer_clips_of_the_same_data(runs: Path, card: Path) -> None:
    evaluate(runs / "gen", *AHEAD, "--rollout", "4", "--mode", "ar", "--num", "3", "--card", card)
    rows = {row["metric"]: row for row in rows_of(card)}
    assert {row["settings"] for row in rows.values()} == {"context 1, rollout 4"}
    assert len(rows["psnr_db"]["protocol"]["per_frame"]) == 15
    drift = rows["drift_pixels"]["protocol"]
    assert (len(drift["per_window"]), len(drift["per_window_real"]), drift["window"]) == (7, 7, 2)
    assert (drift["reference"]["count"], drift["reference"]["frames"]) == (3, 16)
    assert "drift_pixels: distance by window" in (card / FILE).read_text()
    assert faults(card) == []


def test_a_shorter_prediction_and_none_at_all(runs: Path, card: Path) -> None:
    command = [runs / "gen", *QUICK, "--mode", "block", "--card", card]
    evaluate(*command, "--context", "2", "--frames", "1")
    evaluate(*command, "--context", "0")
    rows = rows_of(card)
    (psnr,) = [row for row in rows if row["metric"] == "psnr_db"]
    assert len(psnr["protocol"]["per_frame"]) == 1 and psnr["settings"] == "context 2, frames 1"
    free = [row for row in rows if row.get("settings") == "context 0"]
    assert [row["metric"] for row in free] == FREE


def test_where_there_are_no_longer_clips_a_rollout_shows_its_drift_alone(
    runs: Path, card: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmgen.modalities.video.evaluation.rows.longer", lambda source, frames: source)
    command = [runs / "gen", *AHEAD, "--mode", "ar", "--card", card]
    evaluate(*command, "--rollout", "3")
    assert [row["metric"] for row in rows_of(card)] == ["drift_pixels", *FREE[1:]]
    refuse(capsys, "clips of 4 frames and no longer ones, and 8 are needed", *command, "--frames", "7")
    refuse(capsys, "and 5 are needed", *command, "--rollout", "3", "--context", "5")


def test_likelihoods_are_given_a_frame(runs: Path, card: Path) -> None:
    evaluate(runs / "gen", *AHEAD, "--likelihood", "--mode", "ar", "--card", card)
    values = {row["metric"]: row["value"] for row in rows_of(card)}
    assert values["bits_per_frame"] / values["bits_per_dim"] == pytest.approx(32 * 32, rel=1e-4)


def test_actions_are_measured_where_the_data_has_some(runs: Path, card: Path, tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    data = {"game": "freeway", "frames": 4, "size": 32, "channels": 1, "clips": 2, "held_out": 3}  # of three actions
    config = data_section("Atari", **data)
    source = build_source({"data": config})
    names = {"action_names": list(source.action_names), "fps": source.fps}
    run = video_run(tmp_path / "gen", runs / "tok", classes=0, actions=3, **names)
    written = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(written | {"data": config}))
    evaluate(run, *AHEAD, "--mode", "ar", "--card", card)
    (gain,) = [row for row in rows_of(card) if row["metric"] == "action_gain_db"]
    assert len(gain["protocol"]["per_frame"]) == 3
    assert "another clip" in gain["protocol"]["actions"]
    assert faults(card) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gen --context -1", "--context -1 must be at least 0"),
        ("gen --context 4", "leaves nothing to predict of 4 frames"),
        ("gen --context 1 --frames 0", "--frames 0 must be at least 1"),
        ("gen --rollout 1", "--rollout must be at least 2 times"),
        ("gen --rollout 2 --frames 3", "leave one out"),
        ("gen --context 1 --num 1", "--num must be at least 2, got 1"),
        ("gen --context 1 --mode block --extractor i3d", "name the file: --weights FILE"),
        ("gen --context 1 --extractor efflite0", "of clips: choose frames_efflite0"),
        ("gen --context 1 --mode blok", "did you mean 'block'"),
        ("gen --npz new.npz", "--npz is for images"),
        ("gen --context 1 --data digits.yaml", "and the data has (1, 28, 28)"),
        ("tok --rollout 4", "--rollout is for generators"),
        ("tok --frames 4", "--frames is for generators"),
        ("images --rollout 4", "--rollout is for clips"),
        ("images_tok --num 2", "--num is for generators and for tokenizers of other samples"),
        ("samples.npz --rollout 2", "--rollout is for clips"),
    ],
)
def test_mistakes_end_in_one_line_before_any_work(
    runs: Path, arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for worker in ("measure_predictions", "measure_video_tokenizer", "likelihood_rows"):
        monkeypatch.setattr(f"mmgen.modalities.video.evaluation.rows.{worker}", None)
    for worker in ("measure_mode", "measure_tokenizer", "real_features"):
        monkeypatch.setattr(f"mmgen.modalities.image.evaluation.rows.{worker}", None)
    monkeypatch.chdir(tmp_path)
    digits = data_section("Digits", **Digits.make_fake(tmp_path / "d", 40))
    Path("digits.yaml").write_text(yaml.safe_dump({"data": digits}))
    run, *options = arguments.split()
    extractor = [] if "--extractor" in options or "images" in run else QUICK[:2]
    refuse(capsys, message, runs / run, *extractor, *options)
