"""What the blocks of one pass are given besides their stream."""

from typing import NamedTuple

from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.model.backbone.attention import Attend
from mmgen.model.backbone.cross_attention import Memory

Tables = tuple[Tensor, Tensor]


class Context(NamedTuple):
    """Of one pass. A named tuple, so that what walks through arguments (sharding, compilers) finds its tensors."""

    attention: Attend  # of the queries to the keys, those in the cache included
    layout: Layout | None = None  # of the new positions; None in compiled passes, which know shapes alone
    tables: Tables | None = None  # cos and sin of rotary positions, (b, 1, N, head_dim) each
    cond: Tensor | None = None  # (B, 1 or N, dim), or 6 dim where one map serves all blocks
    modulated: Tensor | None = None  # (b, N) bool, the positions that the condition modulates; None for all
    row: Tensor | None = None  # (B, N) int64, which row of cond modulates a position; None for its own
    memory: Memory | None = None  # for cross-attention
