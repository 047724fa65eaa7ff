"""`mmgen evaluate` on motions from end to end, on runs that nobody trained, with judges that learn in no time."""

from pathlib import Path
from typing import Any

import pytest

from mmgen.evaluation.card import faults
from tests.evaluation.commands import evaluate, refuse, rows_of
from tests.evaluation.motions import Moves, moves_run
from tests.modalities.motion.evaluation import test_classifier as test_motion_classifier
from tests.modalities.motion.evaluation import test_text as test_motion_text
from tests.motion_runs import motion_tokenizer_run
from tests.tiny_runs import tokenizer_run

pytestmark = pytest.mark.e2e

QUICK = ["--device", "cpu"]
REAL = [
    "label_accuracy_real_motion_cnn", "fid_real_motion_cnn", "diversity_real_motion_cnn",
    "multimodality_real_motion_cnn", "r_precision_1_real_text_motion_gru", "r_precision_2_real_text_motion_gru",
    "r_precision_3_real_text_motion_gru", "matching_score_real_text_motion_gru", "foot_skate_real", "jerk_real",
]  # fmt: skip
OF_MODES = [*[name.replace("_real", "") for name in REAL], "forward_passes", "tokens_per_forward", "seconds_per_second"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizers of walks, one of them causal, and generators of them: told classes and texts, classes, or nothing."""
    folder = tmp_path_factory.mktemp("runs")
    tokenizer = motion_tokenizer_run(folder / "tokenizer", causal=True)
    moves_run(folder / "gen", tokenizer)
    moves_run(folder / "classes", tokenizer, text=None)
    tokenizer_run(folder / "images")
    return folder


@pytest.fixture(autouse=True)
def walks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data of all runs; the judges' folder."""
    monkeypatch.setattr("mmgen.evaluation.command.build_source", lambda config: Moves())
    monkeypatch.setattr(
        "mmgen.modalities.motion.evaluation.classifier.MotionRecipe", lambda: test_motion_classifier.QUICK
    )
    monkeypatch.setattr("mmgen.modalities.motion.evaluation.text.TextRecipe", lambda: test_motion_text.QUICK)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_a_tokenizer_s_figures_reach_its_card(runs: Path, card: Path) -> None:
    evaluate(runs / "tokenizer", *QUICK, "--num", "5", "--card", card)
    rows = {row["metric"]: row for row in rows_of(card)}
    assert list(rows) == [
        "mpjpe_mm", "root_mm", "kbps", "code_usage", "code_perplexity", "real_time_factor", "latency_ms",
        "streaming_error",
    ]  # fmt: skip
    for row in rows.values():
        reference = row["protocol"]["reference"]
        assert (row["samples"], reference["count"], reference["frames"], reference["fps"]) == (5, 5, 24, 20.0)
        assert row["protocol"]["dtype"] == "float32 network, float32 features"
    assert rows["latency_ms"]["value"] == 200
    assert faults(card) == []
    text = (card / "README.md").read_text()
    for words in ("5 motions of 24 frames at 20 a second of moves val, SHA-256 of their features", "| `mpjpe_mm` ↓ |"):
        assert words in text


def test_all_modes_move(runs: Path, walks: Path, card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(runs / "gen", *QUICK, "--num", "14", "--card", card)
    printed = capsys.readouterr().out
    assert "judge: motion_cnn, right about" in printed and "judge: text_motion_gru, R-precision@3" in printed
    assert "inbetween_mm is not measured in mode ar: " in printed
    first = rows_of(card)
    real = [row for row in first if "mode" not in row]
    assert [row["metric"] for row in real] == [*REAL, "inbetween_linear_mm"]
    assert all(row["seed"] is None and row["samples"] == 12 for row in real)  # there are no more
    made = [(row["mode"], row["metric"]) for row in first if "mode" in row]
    expected = [("ar", name) for name in OF_MODES] + [("masked", name) for name in [*OF_MODES, "inbetween_mm"]]
    assert made == expected
    for row in first:
        if "mode" in row and row["metric"] != "inbetween_mm":
            assert row["samples"] == 14 and "texts and lengths of held-out" in row["protocol"]["asked_for"]
    assert "not comparable with published" in first[4]["protocol"]["text_motion_gru"]
    assert sorted(path.name for path in walks.iterdir()) == ["classifier-motion", "evaluator-motion-text"]
    assert faults(card) == []


def test_classes_alone_are_asked_for_with_lengths_of_training(runs: Path, card: Path) -> None:
    evaluate(runs / "classes", *QUICK, "--mode", "masked", "--num", "6", "--card", card)
    rows = {row["metric"]: row for row in rows_of(card)}
    assert "r_precision_1_real_text_motion_gru" in rows and "r_precision_1_text_motion_gru" not in rows
    assert "lengths of training motions" in rows["label_accuracy_motion_cnn"]["protocol"]["asked_for"]
    assert "6 motions against 6" in rows["fid_motion_cnn"]["protocol"]["fid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tokenizer --num 0", "--num 0 must be at least 1"),
        ("tokenizer --mode ar", "--mode is for generators"),
        ("tokenizer --context 2", "--context is for clips"),
        ("tokenizer --extractor pixels", "--extractor is for images and clips"),
        ("tokenizer --data digits", "is of motions, and the data has samples of shape"),
        ("gen --num 1", "--num must be at least 2, got 1"),
        ("gen --mode mask", "did you mean 'masked'"),
        ("gen --recogniser there", "--recogniser is for speech"),
    ],
)
def test_mistakes_end_in_one_line_before_any_work(
    runs: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in ("measure_motion_tokenizer", "measure_motions", "measure_real", "Judges"):
        monkeypatch.setattr(f"mmgen.modalities.motion.evaluation.rows.{worker}", None)
    run, *options = arguments.split()
    refuse(capsys, message, runs / run, *options)


@pytest.mark.parametrize(
    ("changes", "message"), [({"fps": 25.0}, "25 frames a second"), ({"sample_shape": (251, 24)}, "251")]
)
def test_motions_of_another_kind_are_refused(
    runs: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in changes.items():
        monkeypatch.setattr(Moves, name, value)
    refuse(capsys, message, runs / "tokenizer", *QUICK)
