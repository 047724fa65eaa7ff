"""The one attention call: SDPA, whole or by groups, or FlexAttention, as mask, device and shape ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.cpu.grouped import grouped_attention, untraced
from mmgen.model.backbone.cpu.grouped_plan import Plan, plan

FLEX_FROM = 1024  # keys from which skipping blocks of a mask pays for FlexAttention's fixed costs on a GPU
CAUSAL_FROM = 1024  # queries from which SDPA's own lower triangle skips anything on a CPU


@dataclass(frozen=True, eq=False)
class Attend:
    """Softmax attention under one mask, realised once for all blocks of a pass. At most one realisation is set; with
    none, everybody sees everybody.
    """

    causal: bool = False  # SDPA's own lower triangle
    dense: Tensor | None = None  # (b, 1, Nq, Nk) bool or additive float mask for SDPA
    block_mask: Any = None  # for FlexAttention
    groups: Plan | None = None  # of queries, each with the keys that it looks at, on a CPU
    by_groups: Callable[[Tensor, Tensor, Tensor, Plan], Tensor] = grouped_attention

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (B, heads, Nq, head_dim), k and v (B, kv_heads, Nk, head_dim) -> as q; kv_heads divides heads."""
        grouped = q.shape[1] != k.shape[1]
        if self.block_mask is not None:
            return _compiled_flex()(q, k, v, block_mask=self.block_mask, enable_gqa=grouped)
        if self.groups is not None:
            return self.by_groups(q, k, v, self.groups)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.dense, is_causal=self.causal, enable_gqa=grouped)


def realise(mask: Mask, queries: Layout, keys: Layout, dtype: torch.dtype) -> Attend:
    """The cheapest realisation of a mask over queries and keys: SDPA's fast paths, then what skips hidden keys in long
    rows (FlexAttention on a GPU, groups of queries on a CPU), then a dense mask. Additive masks have the dtype of the
    scores.
    """
    path, on_cpu = mask.fast_path(queries, keys), queries.rank.device.type == "cpu"
    if path == "full" or (path == "causal" and not (on_cpu and queries.length < CAUSAL_FROM)):
        return Attend(causal=path == "causal")
    if mask.leak:
        return Attend(dense=mask.bias(queries, keys).to(dtype))
    if on_cpu and (groups := plan(mask, queries, keys)) is not None:
        return Attend(groups=groups, by_groups=untraced())
    if path == "causal":
        return Attend(causal=True)
    if queries.rank.is_cuda and keys.length >= FLEX_FROM:
        return Attend(block_mask=mask.block_mask(queries, keys))
    return Attend(dense=mask.dense(queries, keys))


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
