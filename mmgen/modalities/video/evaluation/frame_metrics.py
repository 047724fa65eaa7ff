"""Metrics of clips frame by frame: how close predicted frames are, and how a long rollout drifts away from real ones.

Clips are (B, C, T, H, W) in [-1, 1]. Bytes are compared, as a file would keep them.
"""

import math

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.command import Metric
from mmgen.evaluation.extractors import Extractor, as_bytes, extractor_metric
from mmgen.evaluation.metrics import Moments, decibel, squared_errors, ssim

FLOOR = 1 / 12 / 255**2
"""Least mean squared error of a frame, in units of the range: that of rounding to bytes."""

CAP = -10 * math.log10(FLOOR)
"""The PSNR of that error, 58.9 dB: the most that a single frame can have, also where it is exact."""

WINDOWS = 8
"""Windows of a rollout at most, of equal length; what is left over at the end is left out."""


def frame_errors(made: Tensor, truth: Tensor) -> Tensor:
    """(B, T) float64 mean squared error of each frame, the range of a pixel being 1."""
    return squared_errors(*_frames(made, truth)).view(len(truth), -1)


def frame_ssim(made: Tensor, truth: Tensor) -> Tensor:
    """(B, T) float64 SSIM of each frame. Raises UserError if its window is larger than a frame."""
    return ssim(*_frames(made, truth)).view(len(truth), -1)


def capped_psnr(made: Tensor, truth: Tensor) -> Tensor:
    """(B, T) float64 PSNR of each frame, at most `CAP`, so that an exact frame does not outweigh all others."""
    return decibel(frame_errors(made, truth).clamp_min(FLOOR))


def next_frame_gain(predicted: Tensor, context: Tensor, truth: Tensor) -> Tensor:
    """(B, T) dB by which each predicted frame (B, C, T, H, W) is closer to the truth than the last frame of the context
    (B, C, K, H, W), K at least 1.
    """
    copied = context[:, :, -1:].expand_as(truth)
    return capped_psnr(predicted, truth) - capped_psnr(copied, truth)


def swap_actions(actions: Tensor, context: int, seed: int) -> Tensor:
    """Actions (B, T) int64, that led to each frame, of which those behind the context are another clip's: no clip keeps
    its own. `seed` gives the order in which clips pass them on. Raises UserError for a single clip.
    """
    if len(actions) < 2:
        raise UserError("actions are shuffled among at least 2 clips; measure more with --num")
    order = Draws(seed, torch.arange(len(actions))).uniform("shuffle", 1)[:, 0].argsort()
    shuffled = actions.clone()
    shuffled[order, context:] = actions[order.roll(1), context:]
    return shuffled


def window_distances(frames: Tensor, real: Tensor, windows: int = WINDOWS) -> tuple[list[float], int]:
    """The Fréchet distances of the features of single frames (N, T, F) in each window, of all clips together, to those
    of real clips (M, t, F), and the frames of a window. The more frames a window has, the lower all distances are.
    """
    size = math.ceil(frames.shape[1] / windows)
    count = frames.shape[1] // size
    target = Moments.of(rearrange(real, "m t f -> (m t) f"))
    parts = frames[:, : count * size].split(size, dim=1)
    return [target.distance(Moments.of(rearrange(part, "n t f -> (n t) f"))) for part in parts], size


def measure_drift(
    made: Tensor, real: Tensor, extractor: Extractor, truth: Tensor | None = None, first_frame: int = 0
) -> Metric:
    """`drift`: the distance of the last window less that of the first, 0 where a rollout stays as real as it began.

    Args:
        made: (N, T, F) features of single frames that were made, T at least 2.
        real: (M, t, F) those of real clips.
        extractor: of images, whose features they are.
        truth: (N, T, F) of the real frames at the same times, for comparison.
        first_frame: the number of the first one, from 0.

    Raises:
        UserError: a single frame.
    """
    if made.shape[1] < 2:
        raise UserError("drift needs at least 2 predicted frames: roll out further")
    distances, size = window_distances(made, real)
    rise = distances[-1] - distances[0]
    how = {
        "drift": f"distance of the last window of {size} frames less that of the first",
        "per_window": rounded(distances),
        "window": size,
        "first_frame": first_frame,
        "slope_per_frame": float(f"{rise / (size * (len(distances) - 1)):.4g}"),
    }
    if truth is not None:
        how["per_window_real"] = rounded(window_distances(truth, real)[0])
    return extractor_metric("drift", rise, extractor, **how)


def frame_means(values: Tensor) -> list[float]:
    """(B, T) to a list of T means over clips, for the protocol of a figure."""
    return rounded(values.double().mean(0).tolist())


def rounded(values: list[float]) -> list[float]:
    """To four significant digits."""
    return [float(f"{value:.4g}") for value in values]


def _frames(*clips: Tensor) -> list[Tensor]:
    return [rearrange(as_bytes(x), "b c t h w -> (b t) c h w") for x in clips]
