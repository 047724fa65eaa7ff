"""Figures of clips beside others, frame by frame: how close predicted frames are, and how much closer than the obvious.

Clips are (B, C, T, H, W) in [-1, 1]. What is compared are bytes, as a file would keep them.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import Extractor, as_bytes
from mmgen.evaluation.metrics import SSIM_WINDOW
from mmgen.store.results import metric_name

FLOOR = 1 / 12 / 255**2
"""Least mean squared error of a frame that is told apart, in units of the range: that of rounding to bytes."""

CAP = -10 * math.log10(FLOOR)
"""The PSNR of that error, 58.9 dB: the most that a single frame can have, also where it is exact."""


@dataclass(frozen=True, eq=False)
class ClipFigure:
    """A figure of clips.

    Args:
        metric: base name.
        value: of it.
        extractor: which looked at clips or frames; None where none did.
        protocol: what is to be said of this one beside what all have.
    """

    metric: str
    value: float
    extractor: Extractor | None = None
    protocol: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Full metric name."""
        return metric_name(self.metric, None if self.extractor is None else self.extractor.name)


@dataclass(frozen=True, eq=False)
class ClipReport:
    """What was measured of clips.

    Args:
        figures: one a metric.
        clips: (N, C, T, H, W) uint8 that were measured: reconstructions, or predictions behind their real context.
        steps: states that the sampler went through; None where nothing was sampled.
    """

    figures: list[ClipFigure]
    clips: Tensor
    steps: int | None = None

    @property
    def values(self) -> dict[str, float]:
        """Full metric name -> value."""
        return {each.name: each.value for each in self.figures}


def frame_errors(made: Tensor, truth: Tensor) -> Tensor:
    """(B, T) float64 mean squared error of each frame, the range of a pixel being 1."""
    gap = (as_bytes(made) - as_bytes(truth)).double() / 2
    return reduce(gap.square(), "b c t h w -> b t", "mean")


def frame_ssim(made: Tensor, truth: Tensor) -> Tensor:
    """(B, T) float64 SSIM of each frame (Wang et al. 2004). Raises UserError if its window is larger than a frame."""
    size = tuple(truth.shape[-2:])
    if min(size) < SSIM_WINDOW:
        raise UserError(f"ssim needs frames of at least {SSIM_WINDOW} pixels a side, and these are {size}")
    one, other = (rearrange((as_bytes(x) + 1) / 2, "b c t h w -> (b t) c h w") for x in (made, truth))
    found = structural_similarity_index_measure(one, other, data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)
    return found.double().view(len(truth), truth.shape[2])


def decibel(error: Tensor) -> Tensor:
    """PSNR of mean squared errors, in units of the range; infinite where nothing was lost."""
    return -10 * error.log10()


def capped_psnr(made: Tensor, truth: Tensor) -> Tensor:
    """(B, T) float64 PSNR of each frame, at most `CAP`, so that an exact frame does not outweigh all others."""
    return decibel(frame_errors(made, truth).clamp_min(FLOOR))


def next_frame_gain(predicted: Tensor, context: Tensor, truth: Tensor) -> Tensor:
    """(B, T) dB by which each predicted frame is closer to the truth than the last known frame would be.

    Args:
        predicted: (B, C, T, H, W).
        context: (B, C, K, H, W) the real frames before them, K at least 1.
        truth: (B, C, T, H, W).
    """
    copied = context[:, :, -1:].expand_as(truth)
    return capped_psnr(predicted, truth) - capped_psnr(copied, truth)


def others_actions(actions: Tensor, context: int, seed: int) -> Tensor:
    """Actions (B, T) of which those that lead to predicted frames are another clip's: no clip keeps its own.

    Args:
        actions: int64; `actions[:, t]` led to frame t.
        context: frames that are known; what led to them stays.
        seed: of the order in which clips pass them on.

    Raises:
        UserError: a single clip.
    """
    if len(actions) < 2:
        raise UserError("actions are shuffled among at least 2 clips; measure more with --num")
    order = Draws(seed, torch.arange(len(actions))).uniform("shuffle", 1)[:, 0].argsort()
    shuffled = actions.clone()
    shuffled[order, context:] = actions[order.roll(1), context:]
    return shuffled


def listed(values: Tensor) -> list[float]:
    """(B, T) to a list of T means over clips, of four significant digits, for the protocol of a figure."""
    return [float(f"{value:.4g}") for value in values.double().mean(0).tolist()]
