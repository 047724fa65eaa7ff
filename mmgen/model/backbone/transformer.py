"""One transformer for every system: a few orthogonal options, no knowledge of who runs it.

Shapes: B rows, N positions, dim channels. Attention is said by a Mask over Layouts alone.
"""

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.shape_cache import passing
from mmgen.model.backbone.attention import Attend, realise
from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.fused import rms_norm, rotate, swiglu
from mmgen.model.backbone.modulation import AdaLN, Modulation, modulate
from mmgen.model.backbone.positions import PrefixRotation, Rotary
from mmgen.model.backbone.presets import preset
from mmgen.model.backbone.unpadded import windows

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "swiglu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
}


class Transformer(nn.Module):
    """The backbone of every generator.

    Args:
        size: preset of width, depth and heads: tiny, small, base, large or xl.
        dim: width; the preset's by default.
        depth: number of blocks; the preset's by default.
        heads: attention heads; the preset's by default.
        kv_heads: key-value heads (grouped-query attention); as many as heads by default.
        norm: rms or layer.
        norm_eps: added to the variance in every norm.
        norm_affine: learned gain in the norms of the blocks (and bias, for layer norm with bias).
        norm_order: pre (norm, branch, add) or post (branch, add, norm).
        mlp: swiglu (gated) or a plain activation.
        mlp_hidden: hidden width; 8/3 dim for swiglu and 4 dim otherwise, rounded up to a multiple of 32, by default.
        bias: biases in the linear maps and layer norms.
        qk_norm: norm of queries and keys per head, with a gain of shape (heads, head_dim).
        modulation: adaln (a map a block), adaln_shared (one map for all blocks) or none.
        rope: shares of the rotary frequencies for (t, h, w); (0, 1, 1) suits images, (1, 0, 0) sequences; None turns
            it off.
        rope_base: base of the rotary frequencies.
        rope_prefix: what prefix positions get: identity, zero, or placed, where a text keeps pace with what is spoken.
        final_norm: norm after the last block.
        dropout: on both branches of every block.
        checkpointing: recompute activations in the backward pass, to save memory.
    """

    def __init__(
        self,
        size: str = "tiny",
        dim: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        kv_heads: int | None = None,
        norm: Literal["rms", "layer"] = "rms",
        norm_eps: float = 1e-6,
        norm_affine: bool = True,
        norm_order: Literal["pre", "post"] = "pre",
        mlp: Literal["swiglu", "gelu", "gelu_tanh", "silu", "relu"] = "swiglu",
        mlp_hidden: int | None = None,
        bias: bool = False,
        qk_norm: Literal["rms", "none", "layer"] = "rms",
        modulation: Literal["adaln", "none", "adaln_shared"] = "adaln",
        rope: tuple[int, int, int] | None = (2, 3, 3),
        rope_base: float = 10000.0,
        rope_prefix: PrefixRotation = "identity",
        final_norm: bool = True,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        shape = preset(size)
        self.dim, self.depth, self.heads = dim or shape.dim, depth or shape.depth, heads or shape.heads
        self.kv_heads = kv_heads or self.heads
        if self.dim % self.heads or self.heads % self.kv_heads:
            raise UserError(
                f"heads {self.heads} must divide dim {self.dim}, and kv_heads {self.kv_heads} must divide heads"
            )
        self.head_dim = self.dim // self.heads
        self.checkpointing, self.modulated = checkpointing, modulation != "none"
        self.rotary = Rotary(self.head_dim, rope, rope_base, rope_prefix) if rope else None
        ratio = 8 / 3 if mlp == "swiglu" else 4
        hidden = mlp_hidden or math.ceil(ratio * self.dim / 32) * 32
        make_norm = partial(_norm, kind=norm, eps=norm_eps, bias=bias)
        shared = modulation == "adaln_shared"
        self.condition = nn.Linear(self.dim, 6 * self.dim) if shared else None
        blocks = [
            Block(
                mixer=Attention(self.dim, self.heads, self.kv_heads, bias, qk_norm, norm_eps),
                mlp=MLP(self.dim, hidden, mlp, bias),
                norms=(make_norm(self.dim, affine=norm_affine), make_norm(self.dim, affine=norm_affine)),
                adaln=None if modulation == "none" else AdaLN(self.dim, shared),
                post=norm_order == "post",
                dropout=dropout,
            )
            for _ in range(self.depth)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = make_norm(self.dim, affine=True) if final_norm else nn.Identity()
        self.compiled: object = None  # what runs its passes while it samples: see `mmgen.model.backbone.compiled`
        self._initialise(blocks)

    def _initialise(self, blocks: "list[Block]") -> None:
        """Variance 1 / fan_in; branch outputs scaled by depth, so that the residual stream keeps its size; zero
        condition maps.
        """
        for block in blocks:
            outputs = {block.mixer.out, block.mlp.down}
            for linear in [m for part in (block.mixer, block.mlp) for m in part.modules() if isinstance(m, nn.Linear)]:
                scale = 1 / math.sqrt(2 * self.depth) if linear in outputs else 1.0
                nn.init.normal_(linear.weight, std=scale / math.sqrt(linear.in_features))
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)
        if self.condition is not None:
            nn.init.zeros_(self.condition.weight)
            nn.init.zeros_(self.condition.bias)

    def sibling(self, depth: int) -> "Transformer":
        """Another transformer with the options of this one, which must be at its initialisation, and weights of its
        own.

        Args:
            depth: its number of blocks.
        """
        other = copy.deepcopy(self)
        blocks = [copy.deepcopy(cast(Block, other.blocks[0])) for _ in range(depth)]
        other.depth, other.blocks, other.rotary = depth, nn.ModuleList(blocks), self.rotary
        other._initialise(blocks)
        return other

    def new_cache(self, batch: int, capacity: int) -> Cache:
        """An empty cache for `batch` rows of up to `capacity` positions, on this backbone's device and in its
        precision.
        """
        weight = next(self.parameters())
        dtype = (
            torch.get_autocast_dtype(weight.device.type)
            if torch.is_autocast_enabled(weight.device.type)
            else weight.dtype
        )
        return Cache(self.depth, (batch, self.kv_heads, capacity, self.head_dim), weight.device, dtype)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        mask: Mask,
        cond: Tensor | None = None,
        modulated: Tensor | None = None,
        cache: Cache | None = None,
        store: int | None = None,
    ) -> Tensor:
        """Run the blocks over some positions.

        Args:
            x: (B, N, dim) embedded positions.
            layout: what they are.
            mask: who may see whom, among them and the cached positions.
            cond: (B, dim), or (B, N, dim) for a condition a position; needed when the backbone has modulation.
            modulated: (b, N) bool, the positions that the condition modulates; all by default.
            cache: keys and values of earlier positions.
            store: how many of the leading new positions stay in the cache; all by default.

        Returns:
            (B, N, dim).
        """
        packed = windows(layout) if cache is None and torch.is_grad_enabled() else None
        row = None
        if packed is not None:
            x, layout = packed.take(x), packed.layout
            modulated = modulated if modulated is None else packed.take(modulated.expand_as(packed.real))
            cond, row = (cond, packed.row) if cond is None or cond.dim() == 2 else (packed.take(cond), None)
        keys = layout if cache is None else cache.keys_layout(layout)
        with nullcontext() if packed is None else passing():  # the same lengths hardly come again
            tables = None if self.rotary is None else self.rotary.tables(layout, x.dtype)
            attention = realise(mask, layout, keys, x.dtype)
        if cond is not None:
            cond = cond[:, None] if cond.dim() == 2 else cond
            cond = cond if self.condition is None else self.condition(F.silu(cond))
        for index, block in enumerate(self.blocks):
            extend = None if cache is None else partial(cache.extend, index)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, attention, tables, cond, modulated, extend, row, use_reentrant=False)
            else:
                x = block(x, attention, tables, cond, modulated, extend, row)
        if cache is not None and store != 0:
            cache.store(layout if store is None else layout.slice(0, store))
        return self.final_norm(x if packed is None else packed.restore(x))


Tables = tuple[Tensor, Tensor]


class Block(nn.Module):
    """A mixer branch and an MLP branch around a residual stream."""

    def __init__(
        self,
        mixer: "Attention",
        mlp: "MLP",
        norms: tuple[nn.Module, nn.Module],
        adaln: AdaLN | None,
        post: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.mixer, self.mlp, self.adaln = mixer, mlp, adaln
        self.norm_mixer, self.norm_mlp = norms
        self.post = post
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        attention: Attend,
        tables: Tables | None,
        cond: Tensor | None,
        modulated: Tensor | None,
        extend: Callable[..., tuple[Tensor, Tensor]] | None,
        row: Tensor | None = None,
    ) -> Tensor:
        """x (B, N, dim) -> (B, N, dim). With row, cond is that of rows, and row (B, N) int64 says of which."""
        mixer = partial(self.mixer, attention=attention, tables=tables, extend=extend)
        plain = self.adaln is None or cond is None
        of_mixer, of_mlp = (None, None) if plain else self.adaln(cond, modulated, row)  # type: ignore[misc]
        x = self._branch(x, mixer, self.norm_mixer, of_mixer)
        return self._branch(x, self.mlp, self.norm_mlp, of_mlp)

    def _branch(self, x: Tensor, body: Callable[[Tensor], Tensor], norm: nn.Module, adaln: Modulation | None) -> Tensor:
        h = x if self.post else norm(x)
        h = h if adaln is None else modulate(h, adaln)
        h = self.dropout(body(h))
        x = x + h if adaln is None else torch.addcmul(x, adaln.gate, h)
        return norm(x) if self.post else x


class RMSNorm(nn.RMSNorm):
    """In the precision of its input, so that the fused kernel is taken under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., dim) -> as x."""
        if not self.elementwise_affine:
            return F.rms_norm(x, self.normalized_shape, eps=self.eps)
        return rms_norm(x, self.weight, cast(float, self.eps))


class Attention(nn.Module):
    """Multi-head attention with grouped keys and values, normalised queries and keys, and rotary positions."""

    def __init__(self, dim: int, heads: int, kv_heads: int, bias: bool, qk_norm: str, eps: float) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.qkv = nn.Linear(dim, (heads + 2 * kv_heads) * self.head_dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)
        self.norm_q = None if qk_norm == "none" else HeadNorm(qk_norm, heads, self.head_dim, eps)
        self.norm_k = None if qk_norm == "none" else HeadNorm(qk_norm, kv_heads, self.head_dim, eps)

    def forward(
        self,
        x: Tensor,
        attention: Attend,
        tables: Tables | None,
        extend: Callable[..., tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        """x (B, N, dim) -> (B, N, dim). Keys are rotated before they are cached, so that a cached key never changes."""
        widths = [heads * self.head_dim for heads in (self.heads, self.kv_heads, self.kv_heads)]
        parts = self.qkv(x).split(widths, dim=-1)
        q, k, v = (rearrange(part, "b n (h d) -> b h n d", d=self.head_dim) for part in parts)
        if self.norm_q is not None and self.norm_k is not None:
            q, k = self.norm_q(q), self.norm_k(k)
        if tables is not None:
            q, k = rotate(q, *tables), rotate(k, *tables)
        v = v.to(q.dtype)
        if extend is not None:
            k, v = extend(k, v)
        return self.out(rearrange(attention(q, k, v), "b h n d -> b n (h d)"))


class HeadNorm(nn.Module):
    """Norm over the channels of each head, with a gain of shape (heads, head_dim)."""

    def __init__(self, kind: str, heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.kind, self.eps = kind, eps
        self.gain = nn.Parameter(torch.ones(heads, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, heads, N, head_dim)."""
        if self.kind == "rms":
            return rms_norm(x, self.gain[:, None], self.eps)
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * self.gain[:, None].to(x.dtype)


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


def _norm(dim: int, kind: str, eps: float, affine: bool, bias: bool) -> nn.Module:
    if kind == "rms":
        return RMSNorm(dim, eps=eps, elementwise_affine=affine)
    return nn.LayerNorm(dim, eps=eps, elementwise_affine=affine, bias=bias)
