"""One block: a mixer branch and an MLP branch around a residual stream."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmgen.model.backbone.context import CacheSlice, Context
from mmgen.model.backbone.cross_attention import CrossAttention
from mmgen.model.backbone.mixers.attention import Attention
from mmgen.model.backbone.mixers.recurrence import Recurrence
from mmgen.model.backbone.mlp import MLP
from mmgen.model.backbone.modulation import AdaLN, Modulation, modulate


class Block(nn.Module):
    """A mixer branch and an MLP branch around a residual stream."""

    mixer: Any  # attention, or another part with its `forward` and a linear map `out`

    def __init__(
        self,
        mixer: Attention | Recurrence,
        mlp: MLP,
        norms: tuple[nn.Module, nn.Module],
        adaln: AdaLN | None,
        post: bool,
        dropout: float,
        cross: CrossAttention | None = None,
    ) -> None:
        super().__init__()
        self.mixer, self.mlp, self.adaln = mixer, mlp, adaln
        self.norm_mixer, self.norm_mlp = norms
        self.cross, self.post = cross, post
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Context, cache: CacheSlice | None = None) -> Tensor:
        """x (B, N, dim) -> (B, N, dim)."""
        mixer = partial(self.mixer, context=context, cache=cache)
        of_mixer, of_mlp = None, None
        if self.adaln is not None and context.cond is not None:
            of_mixer, of_mlp = self.adaln(context.cond, context.modulated, context.row)
        x = self._branch(x, mixer, self.norm_mixer, of_mixer)
        if self.cross is not None:
            assert context.memory is not None, "a block with cross-attention is given a memory"
            x = self.cross(x, context.memory, None if cache is None else cache.once)
        return self._branch(x, self.mlp, self.norm_mlp, of_mlp)

    def _branch(self, x: Tensor, body: Callable[[Tensor], Tensor], norm: nn.Module, adaln: Modulation | None) -> Tensor:
        h = x if self.post else norm(x)
        h = h if adaln is None else modulate(h, adaln)
        h = self.dropout(body(h))
        x = x + h if adaln is None else torch.addcmul(x, adaln.gate, h)
        return norm(x) if self.post else x
