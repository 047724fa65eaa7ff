"""One transformer for every system: a few orthogonal options, no knowledge of who runs it.

Shapes: B rows, N positions, dim channels. Attention is said by a Mask over Layouts alone.
"""

import copy
import math
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmgen.core.errors import require, require_one_of
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.shape_cache import passing
from mmgen.model.backbone.attention import realise
from mmgen.model.backbone.block import MLP, Block
from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.cross_attention import CrossAttention, Memory
from mmgen.model.backbone.mixers import Attention, MixerFactory, MixerShape
from mmgen.model.backbone.modulation import AdaLN
from mmgen.model.backbone.norms import make_norm
from mmgen.model.backbone.positions import PrefixRotation, Rotary
from mmgen.model.backbone.unpadded import windows


class Preset(NamedTuple):
    """Width, number of blocks and number of attention heads."""

    dim: int
    depth: int
    heads: int


# From a laptop's to a node's. Parameter counts are of the blocks with their default options.
PRESETS = {
    "tiny": Preset(128, 4, 4),  # about 1M, minutes on a CPU
    "small": Preset(384, 8, 6),  # about 20M
    "base": Preset(768, 12, 12),  # about 130M
    "large": Preset(1024, 24, 16),  # about 450M
    "xl": Preset(1152, 28, 16),  # about 670M, the shape of DiT-XL (Peebles & Xie 2023)
}


def preset(size: str) -> Preset:
    """The preset of that name; UserError naming the nearest one otherwise."""
    require_one_of("backbone size", size, PRESETS)
    return PRESETS[size]


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
        rope: shares of the rotary frequencies for (t, h, w); (0, 1, 1) suits images, (1, 0, 0) sequences; null turns
            it off (a null of the command line arrives here as the word None).
        rope_base: base of the rotary frequencies.
        rope_prefix: what prefix positions get: identity, zero, or placed, where a text keeps pace with what is spoken.
        final_norm: norm after the last block.
        mixers: classes of the mixers of the first block, the second and so on, which repeat over all; `Attention` by
            default. A `Recurrence` needs a causal mask.
        cross_attention: a further branch of every block, behind its mixer, that attends to a memory given to each pass.
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
        rope: tuple[int, int, int] | Literal["None"] | None = (2, 3, 3),
        rope_base: float = 10000.0,
        rope_prefix: PrefixRotation = "identity",
        final_norm: bool = True,
        cross_attention: bool = False,
        mixers: list[MixerFactory] | None = None,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        shape = preset(size)
        self.dim, self.depth, self.heads = dim or shape.dim, depth or shape.depth, heads or shape.heads
        self.kv_heads = kv_heads or self.heads
        divide = f"heads {self.heads} must divide dim {self.dim}, and kv_heads {self.kv_heads} must divide heads"
        require(self.dim % self.heads == 0 and self.heads % self.kv_heads == 0, divide)
        self.head_dim = self.dim // self.heads
        self.cross_attention = cross_attention
        self.checkpointing, self.modulated = checkpointing, modulation != "none"
        self.rotary = Rotary(self.head_dim, rope, rope_base, rope_prefix) if rope and rope != "None" else None
        ratio = 8 / 3 if mlp == "swiglu" else 4
        hidden = mlp_hidden or math.ceil(ratio * self.dim / 32) * 32
        new_norm = partial(make_norm, kind=norm, eps=norm_eps, bias=bias)
        shared = modulation == "adaln_shared"
        self.condition = nn.Linear(self.dim, 6 * self.dim) if shared else None
        mixer_shape = MixerShape(self.dim, self.heads, self.kv_heads, bias, qk_norm, norm_eps)
        kinds: list[MixerFactory] = mixers or [Attention]
        blocks = [
            Block(
                mixer=kinds[index % len(kinds)](mixer_shape),
                mlp=MLP(self.dim, hidden, mlp, bias),
                norms=(new_norm(self.dim, affine=norm_affine), new_norm(self.dim, affine=norm_affine)),
                adaln=None if modulation == "none" else AdaLN(self.dim, shared),
                post=norm_order == "post",
                dropout=dropout,
                cross=CrossAttention(new_norm(self.dim, affine=True), self.dim, self.heads, bias, qk_norm, norm_eps)
                if cross_attention
                else None,
            )
            for index in range(self.depth)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = new_norm(self.dim, affine=True) if final_norm else nn.Identity()
        self.compiled: Any = None  # what runs its passes while it samples: see `mmgen.model.backbone.compiled`
        self._initialise(blocks)

    def _initialise(self, blocks: "list[Block]") -> None:
        """Variance 1 / fan_in; outputs of branches scaled by depth, so that the stream keeps its size; condition maps
        zero.
        """
        for block in blocks:
            if block.cross is not None:
                block.cross.initialise()
            outputs = {block.mixer.out, block.mlp.down}
            for linear in [m for part in (block.mixer, block.mlp) for m in part.modules() if isinstance(m, nn.Linear)]:
                scale = 1 / math.sqrt(2 * self.depth) if linear in outputs else 1.0
                nn.init.normal_(linear.weight, std=scale / math.sqrt(linear.in_features))
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)
        if self.condition is not None:
            nn.init.zeros_(self.condition.weight)
            nn.init.zeros_(self.condition.bias)

    @property
    def recurrent(self) -> list[int]:
        """Numbers of the blocks whose mixer is recurrent."""
        return [index for index, block in enumerate(self.blocks) if cast(Block, block).mixer.recurrent]

    def sibling(self, depth: int) -> "Transformer":
        """A transformer of another depth with the options of this one, at initialisation, and weights of its own."""
        other = copy.deepcopy(self)
        blocks = [copy.deepcopy(cast(Block, other.blocks[0])) for _ in range(depth)]
        other.depth, other.blocks, other.rotary = depth, nn.ModuleList(blocks), self.rotary
        other._initialise(blocks)
        return other

    def new_cache(self, batch: int, capacity: int) -> Cache:
        """An empty cache for `batch` rows of up to `capacity` positions, on this backbone's device in its precision."""
        device = next(self.parameters()).device
        autocast = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if autocast else self.dtype
        return Cache(self.depth, (batch, self.kv_heads, capacity, self.head_dim), device, dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.parameters()).dtype

    def _narrowed(self, x: Tensor) -> Tensor:
        """In the precision of the weights, where that is lower (`mmgen.model.backbone.precision`)."""
        return x.to(self.dtype) if self.dtype.itemsize < x.dtype.itemsize else x

    def modulation(self, cond: Tensor | None) -> Tensor | None:
        """What modulates the blocks: cond (B, dim) or (B, N, dim) -> (B, 1 or N, dim or 6 dim)."""
        if cond is None:
            return None
        cond = cond[:, None] if cond.dim() == 2 else cond
        return cond if self.condition is None else self.condition(F.silu(cond))

    def follow(self, mask: Mask, layout: Layout) -> None:
        """See `Passes`."""

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        mask: Mask,
        cond: Tensor | None = None,
        modulated: Tensor | None = None,
        cache: Cache | None = None,
        store: int | None = None,
        memory: Memory | None = None,
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
            memory: what cross-attention attends to, needed where there is any; the cache holds what the same tensor
                yields.

        Returns:
            (B, N, dim).
        """
        x, cond, dtype = self._narrowed(x), None if cond is None else self._narrowed(cond), x.dtype
        wrong = f"cross_attention {self.cross_attention}: a memory is {'needed' if memory is None else 'not taken'}"
        require(self.cross_attention == (memory is not None), wrong)
        packed = windows(layout) if cache is None and memory is None and torch.is_grad_enabled() else None
        row = None
        if packed is not None:
            x, layout = packed.take(x), packed.layout
            modulated = modulated if modulated is None else packed.take(modulated.expand_as(packed.real))
            cond, row = (cond, packed.row) if cond is None or cond.dim() == 2 else (packed.take(cond), None)
        keys = layout if cache is None else cache.keys_layout(layout)
        with nullcontext() if packed is None else passing():  # the same lengths hardly come again
            tables = None if self.rotary is None else self.rotary.tables(layout, x.dtype)
            for index, block in enumerate(self.blocks):
                cast(Block, block).mixer.require(mask.layers[index % len(mask.layers)], layout, keys)
            attention = [realise(each, layout, keys, x.dtype) for each in mask.layers]
        cond = self.modulation(cond)
        contexts = [Context(each, layout, tables, cond, modulated, row, memory) for each in attention]
        for index, block in enumerate(self.blocks):
            context = contexts[index % len(contexts)]
            cached = None if cache is None else cache.slice(index, layout.length if store is None else store)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, context, cached, use_reentrant=False)
            else:
                x = block(x, context, cached)
        if cache is not None:
            cache.store(layout, store)
        x = self.final_norm(x if packed is None else packed.restore(x))
        return x.to(dtype) if self.dtype.itemsize < dtype.itemsize else x


class Passes:
    """What runs the passes of a backbone during one sampling call: quicker, with the same result.

    Args:
        transformer: without cross-attention.
    """

    def __init__(self, transformer: Transformer) -> None:
        self.of = transformer

    def follow(self, mask: Mask, layout: Layout) -> None:
        """Announce that the next passes store this row in the cache, piece by piece, under this mask."""

    def __call__(
        self,
        x: Tensor,
        layout: Layout,
        mask: Mask,
        cond: Tensor | None = None,
        modulated: Tensor | None = None,
        cache: Cache | None = None,
        store: int | None = None,
        memory: None = None,
    ) -> Tensor:
        """Arguments and result as of `Transformer.forward`."""
        return self.run(x, layout, mask, (cond, modulated), cache, store)

    def run(
        self, x: Tensor, layout: Layout, mask: Mask, by: "Modulator", cache: Cache | None, store: int | None
    ) -> Tensor:
        """A pass over positions x (B, N, dim)."""
        raise NotImplementedError


Modulator = tuple[Tensor | None, Tensor | None]
"""A condition, and the positions that it modulates, as of `Transformer.forward`."""
