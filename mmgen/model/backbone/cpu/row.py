"""A row that is read piece by piece: attention and rotary tables of every piece, derived from the whole row once."""

import torch
from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.attention import Attend
from mmgen.model.backbone.transformer import Transformer

_ALL, _CAUSAL = Attend(), Attend(causal=True)


class Row:
    """What the pieces of a row need.

    Args:
        transformer: whose positions they are.
        mask: who may see whom; no position sees one that is read after it.
        layout: the whole row.
    """

    def __init__(self, transformer: Transformer, mask: Mask, layout: Layout) -> None:
        self.layout = layout
        dtype = next(transformer.parameters()).dtype
        self._turn = turning(transformer, layout, dtype)
        self._sees = mask.bias(layout, layout).to(dtype) if mask.leak else mask.dense(layout, layout)
        causal = torch.ones(layout.length, layout.length, dtype=torch.bool, device=layout.rank.device).tril()
        plain = torch.zeros_like(causal[0]) if mask.leak else (self._sees == causal).all(3).all(1).all(0)
        self._plain: list[bool] = plain.tolist()

    def piece(self, start: int, stop: int) -> tuple[Attend, Tensor | None]:
        """Attention of the positions start to stop among all before stop, and how they turn."""
        turn = None if self._turn is None else self._turn[:, start:stop]
        if all(self._plain[start:stop]) and (start == 0 or stop == start + 1):
            return _ALL if stop == start + 1 else _CAUSAL, turn
        return Attend(dense=self._sees[:, :, start:stop, :stop]), turn


def turning(transformer: Transformer, layout: Layout, dtype: torch.dtype) -> Tensor | None:
    """(b, N, 1, head_dim / 2) complex numbers of length 1, by which pairs of numbers are turned; None where none is."""
    if transformer.rotary is None:
        return None
    cos, sin = (table.transpose(1, 2).chunk(2, dim=-1)[0] for table in transformer.rotary.tables(layout, dtype))
    return torch.complex(cos.contiguous(), sin.contiguous())
