"""What a tokenizer keeps of motions, measured on walks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.tokens import Tokens
from mmgen.modalities.motion.evaluation.tokenizer import measure_motion_tokenizer
from mmgen.modalities.motion.features import position_errors
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.store.store import load_tokenizer
from tests.evaluation.motions import FPS, Moves, noisy
from tests.motion_runs import CONTINUOUS, motion_tokenizer_run


def tokenizer(folder: Path, **changes: Any) -> MotionTokenizer:
    loaded = load_tokenizer(motion_tokenizer_run(folder, **changes))
    assert isinstance(loaded, MotionTokenizer)
    return loaded


def test_a_tokenizer_is_measured_motion_by_motion_without_what_fills_them_up(tmp_path: Path) -> None:
    samples, causal = Moves().samples("val"), tokenizer(tmp_path / "run", causal=True)
    report = measure_motion_tokenizer(causal, samples, batch=5)
    assert list(report.values) == [
        "mpjpe_mm", "root_mm", "kbps", "code_usage", "code_perplexity", "real_time_factor", "latency_ms",
        "streaming_error",
    ]  # fmt: skip
    batch = samples.take(torch.arange(12))
    decoded = causal.decode(causal.encode(batch["x"]), batch["x"].shape[2])
    for name, errors in position_errors(decoded, batch["x"], batch["length"]).items():
        assert report.values[name] == pytest.approx(errors.mean().item())
    assert [motion.shape[1] for motion in report.samples] == batch["length"].tolist()
    torch.testing.assert_close(report.samples[2], decoded[2, :, :16])
    assert report.values["kbps"] == pytest.approx(5 * 2 * 3 / 1000)
    assert 0 < report.values["code_usage"] <= 1
    assert report.values["latency_ms"] == 4 / FPS * 1000
    assert report.values["streaming_error"] < 1e-3  # of features in the hundreds
    again = measure_motion_tokenizer(causal, samples, batch=12)
    assert again.values["mpjpe_mm"] == pytest.approx(report.values["mpjpe_mm"])
    assert again.values["code_perplexity"] == report.values["code_perplexity"]


def test_what_there_is_not_is_left_out(tmp_path: Path) -> None:
    continuous = tokenizer(tmp_path / "run", quantizer=CONTINUOUS)
    report = measure_motion_tokenizer(continuous, Moves().samples("val"))
    assert list(report.values) == ["mpjpe_mm", "root_mm", "real_time_factor"]


@pytest.mark.parametrize("strength", [0.0, 0.01, 0.03])
def test_what_trembles_more_is_further_away(strength: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, samples = tokenizer(tmp_path / "run"), Moves().samples("val")
    originals: list[Tensor] = []

    def encode(x: Tensor) -> Tokens:
        originals.append(x)
        return Tokens(torch.zeros(len(x), 6, 2, dtype=torch.int64), (6, 1, 1))

    monkeypatch.setattr(codec, "encode", encode)
    monkeypatch.setattr(codec, "decode", lambda *_: torch.stack([noisy(x, strength) for x in originals[-1]]))
    error = measure_motion_tokenizer(codec, samples).values["mpjpe_mm"]
    norm = 1000 * strength * 1.596 * 21 / 22  # of a normal vector in three dimensions; the root does not tremble
    assert error == pytest.approx(norm, rel=0.1, abs=1e-6)
