"""What a mask token tells of the order of generation."""

import torch
from torch import Tensor, nn


class RankMark(nn.Module):
    """A vector for every rank, which hidden positions add to their mask token, so that each announces when its token
    will be generated (BAD, Hosseyni et al. 2024, whose table has an entry a rank): a linear map of sines and cosines,
    so that rows may be longer than those trained on.

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
        dtype = self.project.weight.dtype
        step = torch.arange(self.frequencies, device=rank.device) / self.frequencies
        angles = rank[..., None].to(torch.promote_types(dtype, torch.float32)) * 1e-4**step
        return self.project(torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype))
