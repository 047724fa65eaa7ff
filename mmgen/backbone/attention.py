"""The one attention call. SDPA or FlexAttention, chosen from the mask, the device and the shape."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.layout import Layout
from mmgen.mask import Mask

FLEX_FROM = 1024  # keys from which skipping blocks of a mask pays for FlexAttention's fixed costs on a GPU


@dataclass(frozen=True, eq=False)
class Attend:
    """Softmax attention under one mask, realised once for all blocks of a pass.

    At most one field is set; with none, everybody sees everybody.

    Attributes:
        causal: SDPA's own lower triangle.
        dense: (b, 1, Nq, Nk) bool or additive float mask for SDPA.
        block_mask: for FlexAttention.
    """

    causal: bool = False
    dense: Tensor | None = None
    block_mask: Any = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (B, heads, Nq, head_dim), k and v (B, kv_heads, Nk, head_dim) -> as q; kv_heads divides heads."""
        grouped = q.shape[1] != k.shape[1]
        if self.block_mask is not None:
            return _compiled_flex()(q, k, v, block_mask=self.block_mask, enable_gqa=grouped)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.dense, is_causal=self.causal, enable_gqa=grouped)


def realise(mask: Mask, queries: Layout, keys: Layout, dtype: torch.dtype) -> Attend:
    """The cheapest realisation of a mask: SDPA's fast paths, then FlexAttention on a GPU for long rows, then a dense
    mask.

    Args:
        mask: who may see whom.
        queries: what the query positions are.
        keys: what the key positions are.
        dtype: of the scores, for additive masks.
    """
    path = mask.fast_path(queries, keys)
    if path is not None:
        return Attend(causal=path == "causal")
    if mask.leak:
        return Attend(dense=mask.bias(queries, keys).to(dtype))
    if queries.rank.is_cuda and keys.length >= FLEX_FROM:
        return Attend(block_mask=mask.block_mask(queries, keys))
    return Attend(dense=mask.dense(queries, keys))


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
