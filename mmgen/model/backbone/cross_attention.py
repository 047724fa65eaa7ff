"""Cross-attention to a memory, such as the features of a text: one more sublayer of a block, behind its mixer."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.model.backbone.norms import HeadNorm


class Memory(NamedTuple):
    """What every position of a row may attend to."""

    values: Tensor  # (B, M, dim)
    real: Tensor | None = None  # (B, M) bool, False for padding; None where there is none


class CrossAttention(nn.Module):
    """A residual branch (PixArt, Chen et al. 2023): norm, attention, output. The output is zero at initialisation, so
    that the block starts as one without it.

    Args:
        norm: of its input.
        dim: width.
        heads: of attention.
        bias: in the linear maps.
        qk_norm: norm of queries and keys per head: rms, layer or none.
        eps: added to the variance in every norm.
    """

    def __init__(self, norm: nn.Module, dim: int, heads: int, bias: bool, qk_norm: str, eps: float) -> None:
        super().__init__()
        self.norm, self.heads = norm, heads
        self.query = nn.Linear(dim, dim, bias=bias)
        self.key_value = nn.Linear(dim, 2 * dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)
        self.norm_q = None if qk_norm == "none" else HeadNorm(qk_norm, heads, dim // heads, eps)
        self.norm_k = None if qk_norm == "none" else HeadNorm(qk_norm, heads, dim // heads, eps)
        self.initialise()

    def initialise(self) -> None:
        """Variance 1 / fan_in; a zero output."""
        for linear in (self.query, self.key_value):
            nn.init.normal_(linear.weight, std=1 / math.sqrt(linear.in_features))
        nn.init.zeros_(self.out.weight)
        for linear in (self.query, self.key_value, self.out):
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(
        self, x: Tensor, memory: Memory, once: Callable[[Memory, Callable[[], Tensor]], Tensor] | None = None
    ) -> Tensor:
        """x (B, N, dim) -> (B, N, dim), x itself in rows without a memory. `once` caches what the memory yields."""
        q = rearrange(self.query(self.norm(x)), "b n (h d) -> b h n d", h=self.heads)
        q = q if self.norm_q is None else self.norm_q(q)
        k, v = (
            self._keys_values(memory, x.dtype)
            if once is None
            else once(memory, lambda: self._keys_values(memory, x.dtype))
        )
        if memory.real is None:
            mixed = F.scaled_dot_product_attention(q, k, v.to(q.dtype))
        else:
            empty = ~memory.real.any(1, keepdim=True)
            visible = (memory.real | empty)[:, None, None]  # a softmax over nothing is no number
            mixed = F.scaled_dot_product_attention(q, k, v.to(q.dtype), attn_mask=visible)
        branch = self.out(rearrange(mixed, "b h n d -> b n (h d)"))
        return x + (branch if memory.real is None else torch.where(memory.real.any(1)[:, None, None], branch, 0.0))

    def _keys_values(self, memory: Memory, dtype: torch.dtype) -> Tensor:
        """(2, B, heads, M, head_dim)."""
        keys, values = rearrange(
            self.key_value(memory.values.to(dtype)), "b m (two h d) -> two b h m d", two=2, h=self.heads
        )
        return torch.stack([keys if self.norm_k is None else self.norm_k(keys), values.to(keys.dtype)])
