"""What the blocks of one pass are given besides their stream."""

from typing import NamedTuple

from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.model.backbone.attention import Attend
from mmgen.model.backbone.cross_attention import Memory

Tables = tuple[Tensor, Tensor]


class Context(NamedTuple):
    """Of one pass. A named tuple, so that what walks through arguments (sharding, compilers) finds its tensors.

    Attributes:
        attention: of the queries to the keys, those in the cache included.
        layout: what the new positions are; None in compiled passes, which know shapes alone.
        tables: cos and sin of the rotary positions, (b, 1, N, head_dim) each; None for none.
        cond: (B, 1 or N, dim), or 6 dim where one map serves all blocks; None for none.
        modulated: (b, N) bool, the positions that the condition modulates; None for all.
        row: (B, N) int64, which row of cond modulates a position; None where position and condition share theirs.
        memory: for cross-attention; None where blocks have none.
    """

    attention: Attend
    layout: Layout | None = None
    tables: Tables | None = None
    cond: Tensor | None = None
    modulated: Tensor | None = None
    row: Tensor | None = None
    memory: Memory | None = None
