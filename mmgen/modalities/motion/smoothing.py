"""A Gaussian over time, for facings and cameras."""

import math

import torch
from torch import Tensor

_REACH = 4  # standard deviations after which it ends


def smoothed(x: Tensor, frames: float) -> Tensor:
    """(T, N) averaged over time under a Gaussian; before its first frame and after its last it is held to stand still.

    Args:
        frames: the standard deviation.
    """
    reach = math.ceil(_REACH * frames)
    weights = torch.exp(-(torch.arange(-reach, reach + 1).to(x) / frames).square() / 2)
    padded = torch.nn.functional.pad(x.T[:, None], (reach, reach), mode="replicate")
    return torch.nn.functional.conv1d(padded, (weights / weights.sum())[None, None])[:, 0].T
