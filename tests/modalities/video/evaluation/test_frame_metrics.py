"""Law 9 for clips: a set against itself, and known degradations in order."""

import math

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import as_bytes
from mmgen.evaluation.metrics import decibel, squared_errors, ssim
from mmgen.modalities.video.evaluation.frame_metrics import (
    CAP,
    capped_psnr,
    frame_errors,
    frame_means,
    frame_ssim,
    measure_drift,
    next_frame_gain,
    swap_actions,
    window_distances,
)
from tests.evaluation.clips import moving, noisy, normal


def test_clips_against_themselves() -> None:
    x = moving()
    assert frame_errors(x, x).abs().max() == 0
    assert torch.allclose(frame_ssim(x, x), torch.ones(6, 8, dtype=torch.float64))
    assert torch.allclose(capped_psnr(x, x), torch.tensor(CAP).double())
    assert math.isclose(CAP, 20 * math.log10(255) + 10 * math.log10(12))


def test_frames_fall_with_noise_each_on_its_own() -> None:
    x = moving()
    for metric in (capped_psnr, frame_ssim):
        result = [metric(noisy(x, strength), x) for strength in (0.0, 0.2, 0.5, 1.0)]
        assert all(bool((better > worse).all()) for better, worse in zip(result, result[1:]))
    half = torch.cat([x[:, :, :4], noisy(x, 0.5)[:, :, 4:]], dim=2)
    assert bool((capped_psnr(half, x)[:, :4] == CAP).all()) and bool((capped_psnr(half, x)[:, 4:] < 20).all())


def test_frames_are_those_of_the_image_metrics() -> None:
    """Over all frames at once, as of so many images."""
    x, made = moving(), noisy(moving(), 0.3)
    images = [as_bytes(each).transpose(1, 2).flatten(0, 1) for each in (made, x)]
    assert decibel(frame_errors(made, x).mean()).item() == pytest.approx(decibel(squared_errors(*images).mean()).item())
    assert frame_ssim(made, x).mean().item() == pytest.approx(ssim(*images).mean().item(), rel=1e-6)


def test_gain_is_over_copying_the_last_known_frame() -> None:
    x = moving()
    context, truth = x[:, :, :3], x[:, :, 3:]
    copied = context[:, :, -1:].expand_as(truth)
    assert next_frame_gain(copied, context, truth).abs().max() == 0
    exact, near, far = (next_frame_gain(noisy(truth, strength), context, truth).mean() for strength in (0, 0.1, 2.0))
    assert exact > near > 0 > far
    assert torch.allclose(next_frame_gain(truth, context, truth), CAP - capped_psnr(copied, truth))


def test_a_world_that_stands_still_has_no_infinite_gain() -> None:
    x = moving(frames=1).expand(-1, -1, 6, -1, -1)
    assert next_frame_gain(x[:, :, 2:], x[:, :, :2], x[:, :, 2:]).abs().max() == 0
    assert bool(next_frame_gain(noisy(x[:, :, 2:], 0.5), x[:, :, :2], x[:, :, 2:]).isfinite().all())


@pytest.mark.parametrize("clips", [2, 3, 10])
def test_every_clip_gets_the_actions_of_another(clips: int) -> None:
    actions = torch.arange(clips)[:, None].expand(-1, 7) * 10 + torch.arange(7)
    swapped = swap_actions(actions, 3, seed=1)
    assert torch.equal(swapped[:, :3], actions[:, :3])
    assert bool((swapped[:, 3:] != actions[:, 3:]).all())
    assert sorted(swapped[:, 3:].tolist()) == sorted(actions[:, 3:].tolist())  # whole rows go over
    assert torch.equal(swapped, swap_actions(actions, 3, seed=1))
    assert clips < 10 or not torch.equal(swapped, swap_actions(actions, 3, seed=2))


def test_a_single_clip_has_nobody_to_swap_with() -> None:
    with pytest.raises(UserError, match="at least 2 clips"):
        swap_actions(torch.zeros(1, 5, dtype=torch.int64), 1, seed=0)


class Mean:
    """Two features of an image."""

    name, distance, num_features = "mean", "fd", 2
    protocol = {"resize": "none"}  # noqa: RUF012

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), x.flatten(1).std(1)], dim=1)


def test_drift_is_zero_where_nothing_changes_and_grows_with_the_rate_of_decay() -> None:
    steady, real = normal(40, 1, 4).expand(-1, 24, -1), normal(50, 6, 4, seed=1)
    result = measure_drift(steady, real, Mean())
    assert result.value == pytest.approx(0, abs=1e-9)
    assert len(result.protocol["per_window"]) == 8 and result.protocol["window"] == 3
    time = torch.arange(24)[:, None] / 24
    rates = [measure_drift(steady + rate * time, real, Mean()) for rate in (0.5, 1.0, 2.0)]
    values = [each.value for each in rates]
    assert 0 < values[0] < values[1] < values[2]
    for each in rates:
        distances = each.protocol["per_window"]
        assert each.name == "drift_mean"
        assert distances == sorted(distances)
        assert each.value == pytest.approx(distances[-1] - distances[0], rel=1e-2)
        assert each.protocol["slope_per_frame"] == pytest.approx(each.value / 21, rel=1e-2)


def test_windows_are_of_equal_length_and_their_distance_is_that_of_sets() -> None:
    frames, real = normal(5, 17, 3), normal(6, 4, 3, seed=2)
    distances, size = window_distances(frames, real)
    assert (len(distances), size) == (5, 3)  # two frames are left out
    assert window_distances(real, real, windows=1)[0] == [pytest.approx(0, abs=1e-9)]
    assert window_distances(frames[:, :3], real, windows=1)[0][0] == pytest.approx(distances[0])
    with pytest.raises(UserError, match="at least 2 predicted frames"):
        measure_drift(frames[:, :1], real, Mean())


def test_lists_are_means_over_clips() -> None:
    assert frame_means(torch.tensor([[1.0, 2.00004], [3.0, 4.0]])) == [2.0, 3.0]
