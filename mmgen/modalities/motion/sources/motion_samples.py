"""What all motions have in common: features of windows, still poses after shorter ones, and mean and deviation."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mmgen.data.sources.base import Batch
from mmgen.modalities.motion.features import feature_slices

UNIT = 4
"""Windows are whole multiples of so many frames, as published models make a token of four."""


def whole(frames: float, most: int) -> int:
    """The frames of a window where there is room for `frames`: `most`, or fewer, in whole units."""
    count = int(min(frames + 1e-2, most))  # times are rounded: 0.2 s at 20 frames a second are four
    return count - count % UNIT


def padded(motions: Sequence[Tensor], frames: int) -> Batch:
    """Features (n, D), 1 <= n <= frames, as `x` (b, D, frames) float32 that ends in the last pose, standing still, and
    `length` (b,) int64.
    """
    rows = []
    for motion in motions:
        x = motion[torch.arange(frames).clamp(max=len(motion) - 1)]
        x[len(motion) :] = still(motion[-1])
        rows.append(x.mT.contiguous())
    return {"x": torch.stack(rows).float(), "length": torch.tensor([len(motion) for motion in motions])}


def still(features: Tensor) -> Tensor:
    """The same poses (..., D) without motion: nothing turns or goes anywhere, and the feet stand."""
    slices = feature_slices(features.shape[-1])
    features = features.clone()
    for name in ("root_yaw", "root_velocity", "velocities"):
        features[..., slices[name]] = 0
    features[..., slices["contacts"]] = 1
    return features


def mean_and_deviation(motions: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) float32 over all frames of motions (n, D), read once, one after the other.

    The deviation is the mean one of each group of features, so that what hardly moves in a group is not blown up, as
    published models have it.

    Raises:
        ValueError: there are none.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    shift = torch.zeros(())  # near the mean, so that squares lose no digits
    for motion in motions:
        precise = motion.double()
        shift = shift if count else precise.mean(0)
        precise = precise - shift
        count, total, squares = count + len(precise), total + precise.sum(0), squares + precise.square().sum(0)
    if not count:
        raise ValueError("there is no motion to measure")
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    for group in feature_slices(len(std)).values():
        std[group] = std[group].mean()
    return (mean + shift).float(), std.float()
