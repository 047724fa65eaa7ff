"""The embedding of a noise level."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.model.backbone import Transformer


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
        dtype = self.rise.weight.dtype
        step = torch.arange(self.frequencies, device=levels.device) / self.frequencies
        angles = levels[..., None].to(torch.promote_types(dtype, torch.float32)) * 1e3 * 1e-4**step
        return self.out(F.silu(self.rise(torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype))))


def noise_level_for(backbone: Transformer) -> NoiseLevel:
    """Of a backbone's width. Raises UserError for one that nothing modulates."""
    if not backbone.modulated:
        raise UserError("a noise level modulates the backbone: set its modulation to adaln or adaln_shared, not none")
    return NoiseLevel(backbone.dim)
