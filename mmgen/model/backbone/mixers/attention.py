"""Multi-head attention, the default mixer."""

from einops import rearrange
from torch import Tensor, nn

from mmgen.model.backbone.cache import BlockCache
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.fused import rotate
from mmgen.model.backbone.mixers.base import Mixer, MixerShape
from mmgen.model.backbone.norms import HeadNorm


class Attention(Mixer):
    """Multi-head attention with grouped keys and values, normalised queries and keys, and rotary positions.

    Args:
        shape: of the backbone.
    """

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        dim, heads, kv_heads, bias, qk_norm, eps = shape
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.qkv = nn.Linear(dim, (heads + 2 * kv_heads) * self.head_dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)
        self.norm_q = None if qk_norm == "none" else HeadNorm(qk_norm, heads, self.head_dim, eps)
        self.norm_k = None if qk_norm == "none" else HeadNorm(qk_norm, kv_heads, self.head_dim, eps)

    def forward(self, x: Tensor, context: Context, cache: BlockCache | None = None) -> Tensor:
        """x (B, N, dim) -> (B, N, dim). Keys are rotated before they are cached, so that a cached key never changes."""
        widths = [heads * self.head_dim for heads in (self.heads, self.kv_heads, self.kv_heads)]
        parts = self.qkv(x).split(widths, dim=-1)
        q, k, v = (rearrange(part, "b n (h d) -> b h n d", d=self.head_dim) for part in parts)
        if self.norm_q is not None and self.norm_k is not None:
            q, k = self.norm_q(q), self.norm_k(k)
        if context.tables is not None:
            q, k = rotate(q, *context.tables), rotate(k, *context.tables)
        v = v.to(q.dtype)
        if cache is not None:
            k, v = cache.extend(k, v)
        return self.out(rearrange(context.attention(q, k, v), "b h n d -> b n (h d)"))
