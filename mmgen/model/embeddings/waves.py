"""Embeddings of numbers by sines and cosines: noise levels, and ranks in an order of generation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import require
from mmgen.model.backbone import Transformer


def waves(x: Tensor, frequencies: int, scale: float, dtype: torch.dtype) -> Tensor:
    """(...) -> (..., 2 frequencies) sines, then cosines, of scale x in frequencies that fall from 1 to 1e-4."""
    step = torch.arange(frequencies, device=x.device) / frequencies
    angles = x[..., None].to(torch.promote_types(dtype, torch.float32)) * scale * 1e-4**step
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype)


class NoiseLevel(nn.Module):
    """A noise level as a modulation vector: sines and cosines of it, then two linear maps (DiT, Peebles & Xie 2023).

    Args:
        dim: width of the backbone.
        frequencies: as many sines and as many cosines, of wavelengths from 2 pi / 1000 to 20 pi.
    """

    def __init__(self, dim: int, frequencies: int = 64) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.rise, self.out = nn.Linear(2 * frequencies, dim), nn.Linear(dim, dim)
        for linear in (self.rise, self.out):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, levels: Tensor) -> Tensor:
        """levels (B, N) in [0, 1], 0 without noise -> (B, N, dim)."""
        return self.out(F.silu(self.rise(waves(levels, self.frequencies, 1e3, self.rise.weight.dtype))))


class RankMark(nn.Module):
    """A vector for every rank, which hidden positions add to their mask token, so that each announces when its token
    will be generated (BAD, Hosseyni et al. 2024, whose table has an entry a rank). It is a linear map of sines and
    cosines, so that rows may be longer than those trained on.

    Args:
        dim: width of the backbone.
        frequencies: as many sines and as many cosines, of wavelengths from 2 pi to 20000 pi.
    """

    def __init__(self, dim: int, frequencies: int = 32) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.project = nn.Linear(2 * frequencies, dim, bias=False)
        nn.init.normal_(self.project.weight, std=0.5 / frequencies**0.5)

    def forward(self, rank: Tensor) -> Tensor:
        """rank (b, N) int64, from 0 on -> (b, N, dim)."""
        return self.project(waves(rank, self.frequencies, 1.0, self.project.weight.dtype))


def noise_level_for(backbone: Transformer) -> NoiseLevel:
    """Of a backbone's width. Raises UserError for one that nothing modulates."""
    missing = "a noise level modulates the backbone: set its modulation to adaln or adaln_shared, not none"
    require(backbone.modulated, missing)
    return NoiseLevel(backbone.dim)
