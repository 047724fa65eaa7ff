"""Norms of channels: RMS or layer, of a whole position or of each head."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.model.backbone.fused import rms_norm


class RMSNorm(nn.RMSNorm):
    """In the precision of its input, so that the fused kernel is taken under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., dim) -> as x."""
        if not self.elementwise_affine:
            return F.rms_norm(x, self.normalized_shape, eps=self.eps)
        return rms_norm(x, self.weight, cast(float, self.eps))


class HeadNorm(nn.Module):
    """Norm over the channels of each head, with a gain of shape (heads, head_dim)."""

    def __init__(self, kind: str, heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.kind, self.eps = kind, eps
        self.gain = nn.Parameter(torch.ones(heads, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, heads, N, head_dim)."""
        if self.kind == "rms":
            return rms_norm(x, self.gain[:, None], self.eps)
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * self.gain[:, None].to(x.dtype)


def make_norm(dim: int, kind: str, eps: float, affine: bool, bias: bool) -> nn.Module:
    """A norm of `dim` channels: rms or layer, with a learned gain where it is affine."""
    if kind == "rms":
        return RMSNorm(dim, eps=eps, elementwise_affine=affine)
    return nn.LayerNorm(dim, eps=eps, elementwise_affine=affine, bias=bias)
