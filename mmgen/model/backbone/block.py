"""One block: a mixer branch and an MLP branch around a residual stream."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.model.backbone.cache import BlockCache
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.cross_attention import CrossAttention
from mmgen.model.backbone.fused import swiglu
from mmgen.model.backbone.mixers import Mixer
from mmgen.model.backbone.modulation import AdaLN, Modulation, modulate

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "swiglu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
}


class MLP(nn.Module):
    """Two-layer perceptron, gated for swiglu."""

    def __init__(self, dim: int, hidden: int, kind: str, bias: bool) -> None:
        super().__init__()
        self.gated = kind == "swiglu"
        self.activation = ACTIVATIONS[kind]
        self.up = nn.Linear(dim, hidden * (2 if self.gated else 1), bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, dim) -> (B, N, dim)."""
        h = self.up(x)
        if not self.gated:
            return self.down(self.activation(h))
        return self.down(swiglu(h))


class Block(nn.Module):
    """A mixer branch and an MLP branch around a residual stream."""

    mixer: Any  # a `Mixer`

    def __init__(
        self,
        mixer: Mixer,
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

    def forward(self, x: Tensor, context: Context, cache: BlockCache | None = None) -> Tensor:
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
