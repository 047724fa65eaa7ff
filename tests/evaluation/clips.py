"""Clips to measure: moving pictures, and what may become of them."""

import torch
from torch import Tensor

from mmgen.core.draws import Draws


def normal(count: int, *shape: int, seed: int = 0) -> Tensor:
    return Draws(seed, torch.arange(count)).normal("test", *shape)


def moving(count: int = 6, frames: int = 8, seed: int = 0) -> Tensor:
    """(count, 1, frames, 16, 16): smooth pictures that move on by a pixel a frame."""
    picture = torch.nn.functional.interpolate(normal(count, 1, 4, 4, seed=seed).float(), size=16, mode="bicubic").tanh()
    return torch.stack([picture.roll(time, -1) for time in range(frames)], dim=2)


def noisy(x: Tensor, strength: float) -> Tensor:
    return (x + strength * normal(*x.shape, seed=9).to(x)).clamp(-1, 1)
