"""Figures of predictions, with samplers that cheat in known ways."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.evaluation.command import ModeSampling, Report
from mmgen.evaluation.extractors import as_floats, get_extractor
from mmgen.media.images import to_uint8
from mmgen.modalities.video.evaluation.frame_metrics import CAP
from mmgen.modalities.video.evaluation.frechet_video import FrameFeatures
from mmgen.modalities.video.evaluation.generator import PredictionTask, clip_features, measure_predictions
from mmgen.modalities.video.sampling import VideoSamples
from tests.evaluation.clips import moving, noisy

CONTEXT, FRAMES = 3, 12
Sampler = Callable[[Tensor, Tensor | None], Tensor]


@pytest.fixture
def extractor() -> FrameFeatures:
    return FrameFeatures(get_extractor("pixels", (1, 16, 16)))


def task(actions: bool = False, have: int = FRAMES, context: int = CONTEXT, clips: int = 30) -> PredictionTask:
    real = to_uint8(moving(clips, FRAMES))[:, :, :have]
    given = torch.arange(clips)[:, None].expand(-1, FRAMES) if actions else None
    return PredictionTask(real, torch.full((clips,), -1), given, context, FRAMES)


def measured(
    monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures, wanted: PredictionTask, sampler: Sampler, **options: Any
) -> Report[Tensor]:
    """With clips from `sampler(the real clips, actions)`; its context frames are spoilt, and must not be looked at."""
    real, calls = moving(len(wanted.labels), FRAMES), []

    def sample_clips(task: Any, context: Tensor | None) -> VideoSamples:
        calls.append((context, task.seed))
        assert task.frames == FRAMES
        assert calls[-1][0] is calls[0][0] and calls[-1][1] == calls[0][1]  # under other actions, all else the same
        clips = sampler(real, task.conditions.get("actions"))
        clips = torch.cat([torch.zeros_like(clips[:, :, : wanted.context]), clips[:, :, wanted.context :]], dim=2)
        return VideoSamples(torch.zeros(1, 42), torch.tensor([42]), 7, 21, 3.0, clips, wanted.context, 0.1)

    def task(_: Any, mode: str, conditions: Any, options: Any, seed: int, **more: Any) -> SimpleNamespace:
        return SimpleNamespace(conditions=conditions, seed=seed, **more)

    monkeypatch.setattr("mmgen.evaluation.command.SamplingTask", task)
    monkeypatch.setattr("mmgen.modalities.video.evaluation.generator.sample_clips", sample_clips)
    sampling = ModeSampling(None, "ar")  # type: ignore[arg-type]
    return measure_predictions(sampling, wanted, extractor, **options)


def test_the_truth_itself_scores_perfectly(monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures) -> None:
    report = measured(monkeypatch, extractor, task(), lambda real, _: real, drift=True)
    values = report.values
    assert values["psnr_db"] == pytest.approx(CAP)
    assert values["ssim"] == pytest.approx(1)
    assert values["fvd_frames_pixels"] == pytest.approx(0, abs=1e-6)
    assert values["next_frame_gain_db"] > 30
    drift = next(each for each in report.metrics if each.metric == "drift")
    assert drift.name == "drift_pixels"
    assert drift.protocol["per_window"] == drift.protocol["per_window_real"]
    assert (values["forward_passes"], values["seconds_per_sample"], report.steps) == (21, 0.1, 7)
    assert torch.equal(report.samples, task().real)


def test_copying_gains_nothing(monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures) -> None:
    def copy(real: Tensor, _: Tensor | None) -> Tensor:
        return real[:, :, CONTEXT - 1 : CONTEXT].expand(-1, -1, FRAMES, -1, -1)

    report = measured(monkeypatch, extractor, task(), copy)
    gain = next(each for each in report.metrics if each.metric == "next_frame_gain_db")
    assert gain.value == 0
    assert gain.protocol["per_frame"] == [0.0] * (FRAMES - CONTEXT)
    assert gain.protocol["first_frame"] == CONTEXT


def test_figures_are_ordered_by_how_bad_predictions_are(
    monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures
) -> None:
    def spoilt(strength: float) -> dict[str, float]:
        return measured(monkeypatch, extractor, task(), lambda real, _: noisy(real, strength)).values

    found = [spoilt(strength) for strength in (0.0, 0.1, 0.4, 1.0)]
    for name, sign in {"psnr_db": -1, "ssim": -1, "next_frame_gain_db": -1, "fvd_frames_pixels": 1}.items():
        values = [sign * each[name] for each in found]
        assert values == sorted(values) and len(set(values)) == 4, name


def test_lists_tell_where_predictions_get_worse(monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures) -> None:
    def later(real: Tensor, _: Tensor | None) -> Tensor:
        growth = torch.linspace(0, 1, FRAMES).view(1, 1, -1, 1, 1)
        return torch.lerp(real, noisy(real, 2.0), growth)

    report = measured(monkeypatch, extractor, task(), later, drift=True)
    for each in report.metrics:
        if "per_frame" in each.protocol:
            curve = each.protocol["per_frame"]
            assert len(curve) == FRAMES - CONTEXT
            if each.metric != "next_frame_gain_db":  # copying gets worse too
                assert curve == sorted(curve, reverse=True)
            assert each.value == pytest.approx(sum(curve) / len(curve), rel=1e-2)
    assert report.values["drift_pixels"] > 0


def test_action_gain_is_what_wrong_actions_cost(monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures) -> None:
    def obedient(strength: float) -> Sampler:
        """The better the prediction, the more of a clip's frames are told its own actions."""

        def sample(real: Tensor, actions: Tensor | None) -> Tensor:
            assert actions is not None
            wrong = (actions != torch.arange(len(real))[:, None])[:, None, :, None, None]
            assert not bool(wrong[:, :, :CONTEXT].any())
            return torch.where(wrong, noisy(real, strength), noisy(real, 0.1))

        return sample

    gains = [
        measured(monkeypatch, extractor, task(actions=True), obedient(strength)).values["action_gain_db"]
        for strength in (0.1, 0.3, 1.0)
    ]
    assert gains[0] == 0 < gains[1] < gains[2]
    assert "action_gain_db" not in measured(monkeypatch, extractor, task(), lambda real, _: real).values


def test_without_the_truth_only_drift_is_known(monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures) -> None:
    report = measured(monkeypatch, extractor, task(have=6), lambda real, _: real, drift=True)
    assert set(report.values) == {"drift_pixels", "forward_passes", "tokens_per_forward", "seconds_per_sample"}
    drift = next(each for each in report.metrics if each.metric == "drift")
    assert "per_window_real" not in drift.protocol


def test_without_a_context_only_sets_are_compared(monkeypatch: pytest.MonkeyPatch, extractor: FrameFeatures) -> None:
    report = measured(monkeypatch, extractor, task(context=0), lambda real, _: real.flip(0))
    assert set(report.values) == {"fvd_frames_pixels", "forward_passes", "tokens_per_forward", "seconds_per_sample"}
    assert report.values["fvd_frames_pixels"] == pytest.approx(0, abs=1e-6)  # whatever the order


def test_a_look_does_not_depend_on_the_batch(extractor: FrameFeatures) -> None:
    pixels = task(clips=7).real
    whole, parts = clip_features(extractor, pixels, 7), clip_features(extractor, pixels, 3)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(whole[0], extractor(as_floats(pixels)).double())
