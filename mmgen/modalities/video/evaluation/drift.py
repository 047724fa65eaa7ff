"""How a long rollout leaves the real frames behind: the distance of its frames to them, window after window."""

import math

from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import Extractor
from mmgen.evaluation.metrics import Moments
from mmgen.modalities.video.evaluation.frame_metrics import ClipFigure

WINDOWS = 8
"""At most so many, of equal length; what is left over at the end is left out."""


def window_distances(frames: Tensor, real: Tensor, windows: int = WINDOWS) -> tuple[list[float], int]:
    """The Fréchet distance of the frames of each window, of all clips together, to real frames.

    All windows have equally many frames, so that their distances can be compared with one another; the more frames, the
    lower they all are.

    Args:
        frames: (N, T, F) features of single frames.
        real: (M, t, F) features of the frames of real clips.
        windows: at most so many.

    Returns:
        Distances in order of time, and the frames of a window.
    """
    size = math.ceil(frames.shape[1] / windows)
    count = frames.shape[1] // size
    wanted = Moments.of(rearrange(real, "m t f -> (m t) f"))
    parts = frames[:, : count * size].split(size, dim=1)
    return [wanted.distance(Moments.of(rearrange(part, "n t f -> (n t) f"))) for part in parts], size


def measure_drift(
    made: Tensor, real: Tensor, extractor: Extractor, truth: Tensor | None = None, first_frame: int = 0
) -> ClipFigure:
    """`drift`: the distance of the last window less that of the first, 0 where a rollout stays as real as it began.

    Args:
        made: (N, T, F) features of single frames that were made, T at least 2.
        real: (M, t, F) those of real clips.
        extractor: of images, whose features they are.
        truth: (N, T, F) of the real frames at the same times, for a curve beside it: what windows differ by anyway.
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
        "per_window": _rounded(distances),
        "window": size,
        "first_frame": first_frame,
        "slope_per_frame": float(f"{rise / (size * (len(distances) - 1)):.4g}"),
    }
    if truth is not None:
        how["per_window_real"] = _rounded(window_distances(truth, real)[0])
    return ClipFigure("drift", rise, extractor, how)


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
