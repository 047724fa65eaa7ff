"""The one attention call. SDPA or FlexAttention, chosen from the mask, the device and the shape."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.layout import Layout
from mmgen.mask import Mask

FLEX_FROM = 1024  # keys from which skipping blocks of a mask pays for FlexAttention's fixed costs on a GPU


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, queries: Layout, keys: Layout) -> Tensor:
    """Softmax attention under a mask.

    Args:
        q: (B, heads, Nq, head_dim).
        k: (B, kv_heads, Nk, head_dim); kv_heads divides heads.
        v: as k.
        mask: who may see whom.
        queries: what the query positions are.
        keys: what the key positions are.

    Returns:
        (B, heads, Nq, head_dim).
    """
    grouped = q.shape[1] != k.shape[1]
    path = mask.fast_path(queries, keys)
    if path == "full":
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped)
    if path == "causal":
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
    if mask.leak:
        bias = mask.bias(queries, keys).to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=grouped)
    if q.is_cuda and k.shape[2] >= FLEX_FROM:
        return _compiled_flex()(q, k, v, block_mask=mask.block_mask(queries, keys), enable_gqa=grouped)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.dense(queries, keys), enable_gqa=grouped)


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
