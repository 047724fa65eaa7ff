"""One block of a packed backbone, and the buffers that all of them work in."""

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.model.backbone.attention import Attend
from mmgen.model.backbone.block import MLP, Block
from mmgen.model.backbone.cpu.products import Product
from mmgen.model.backbone.mixers import Attention
from mmgen.model.backbone.modulation import AdaLN, Modulation
from mmgen.model.backbone.norms import HeadNorm, RMSNorm
from mmgen.model.backbone.transformer import Transformer
from mmgen.model.plain_module import is_plain

Room = tuple[Tensor, Tensor, Tensor]
Steered = tuple[Tensor | None, Tensor | None, Tensor | None]


class Place:
    """Buffers of a pass over `length` positions of `batch` rows, and views of them, for packed blocks of one shape."""

    def __init__(self, transformer: Transformer, block: Block, batch: int, length: int) -> None:
        weight = block.mlp.up.weight
        rows, heads, kv, dim = batch * length, transformer.heads, transformer.kv_heads, transformer.dim
        self.single = length == 1
        self.flat, self.wide = (rows, dim), (batch, dim) if self.single else (batch, length, dim)
        self.qkv = weight.new_empty(rows, (heads + 2 * kv) * transformer.head_dim)
        parts = self.qkv.view(batch, length, heads + 2 * kv, transformer.head_dim)
        self.qk, self.normed = parts[:, :, : heads + kv], weight.new_empty(batch, length, heads + kv, *parts.shape[3:])
        if transformer.rotary is not None:
            pairs = (torch.view_as_complex(x.unflatten(-1, (-1, 2))) for x in (self.qk, self.normed))
            self.qk_pairs, self.normed_pairs = pairs
        self.q, self.k, self.v = (each.transpose(1, 2) for each in parts.split([heads, kv, kv], dim=2))
        self.kv = rearrange(parts[:, :, heads:], "b n (kv h) d -> kv b h n d", kv=2)
        self.up = weight.new_empty(rows, block.mlp.up.out_features)
        self.gated = self.up.chunk(2, dim=-1) if block.mlp.gated else None
        self.branch = weight.new_empty(rows, dim)


class Steering(NamedTuple):
    """Of the two branches of a block a shift and a scale behind its norm, and a gate at its end, (B, 1 or N, dim); None
    for none, and (dim,) for a scale of all positions.
    """

    mixer: Steered
    mlp: Steered

    def of_rows(self) -> "Steering":
        """For passes over one position a row, (B, dim)."""
        one = [tuple(x if x is None or x.dim() == 1 else x[:, 0] for x in branch) for branch in self]
        return Steering(*one)  # type: ignore[arg-type]


class Normalise:
    """x (..., n) / sqrt(sum x^2 + n eps), which is RMSNorm but for a factor sqrt(n), in three operations."""

    def __init__(self, size: int, eps: float, like: Tensor) -> None:
        self.smallest = math.sqrt(size * eps)
        self.least = like.new_tensor(self.smallest)

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """x (..., n), anew or into `out`."""
        return torch.div(x, torch.hypot(torch.linalg.vector_norm(x, 2, -1, True), self.least), out=out)

    def factor(self, x: Tensor) -> float:
        """What a single vector x (1, n), on a CPU, is multiplied by."""
        return 1 / math.sqrt(torch.dot(x[0], x[0]).item() + self.smallest**2)


KNOWN = Block, Attention, MLP, RMSNorm, nn.LayerNorm, HeadNorm, AdaLN, nn.Linear, nn.Dropout


def can_pack(block: nn.Module) -> bool:
    """Whether a packed block would compute the same: all in it is exactly as its class says."""
    parts = list(block.modules())
    return type(block) is Block and not block.post and all(is_plain(part, *KNOWN) for part in parts)


def shape(block: Block) -> tuple[object, ...]:
    """What decides about buffers."""
    mixer, mlp = block.mixer, block.mlp
    return mixer.heads, mixer.kv_heads, mixer.head_dim, mlp.up.out_features, mlp.gated


class PackedBlock:
    """A block, of which `can_pack` is true, with its weights laid out anew. Channels of queries and keys that rotate
    together lie side by side, as parts of a complex number: attention does not see their order, and rotation is one
    product.
    """

    def __init__(self, block: Block, turns: bool) -> None:
        mixer, mlp = block.mixer, block.mlp
        self.adaln, self.activation = block.adaln, mlp.activation
        self.norms = block.norm_mixer, block.norm_mlp
        folds = block.adaln is None  # a modulation comes between the norm and the product
        scales = [_scale(norm, mixer.out.weight) for norm in self.norms]
        self.scales = [None if folds else scale for scale in scales]
        order = torch.arange(mixer.head_dim, device=mixer.out.weight.device)
        order = rearrange(order, "(pair half) -> (half pair)", pair=2) if turns else order
        turned = (mixer.heads + mixer.kv_heads) * mixer.head_dim
        channels = torch.arange(mixer.qkv.out_features, device=order.device)
        channels[:turned] = rearrange(channels[:turned], "(h d) -> h d", d=mixer.head_dim)[:, order].flatten()
        of_mixer, of_mlp = scales if folds else (None, None)
        self.qkv, self.up = _product(mixer.qkv, of_mixer, channels), _product(mlp.up, of_mlp)
        self.out, self.down = _product(mixer.out), _product(mlp.down)
        self.norm_mixer, self.norm_mlp = (_norm(norm, mixer.out.weight) for norm in self.norms)
        self.gain, self.norm_heads = None, None
        if mixer.norm_q is not None and mixer.norm_k is not None:
            gain = torch.cat([mixer.norm_q.gain, mixer.norm_k.gain]).detach()[..., order]
            self.gain, self.eps = gain, mixer.norm_q.eps
            if mixer.norm_q.kind == "rms":
                self.gain = gain * math.sqrt(mixer.head_dim)
                self.norm_heads = Normalise(mixer.head_dim, self.eps, gain)
        self.plain = Steering(*((None, scale, None) for scale in self.scales))

    def steer(self, cond: Tensor, modulated: Tensor | None) -> Steering:
        """From the condition (B, 1 or N, dim), as `Block.forward` has it."""
        assert self.adaln is not None
        pairs = zip(self.adaln(cond, modulated), self.scales, strict=True)
        return Steering(*(_steered(modulation, scale) for modulation, scale in pairs))

    def __call__(
        self,
        stream: Tensor,
        place: Place,
        attention: Attend,
        turn: Tensor | None,
        steering: Steering,
        room: Room | None,
    ) -> Tensor:
        """stream (rows, dim) -> the same; may write over it. `room` is that of the cache for this block."""
        of_mixer, of_mlp = steering
        _into(self.qkv, self.norm_mixer, stream, of_mixer, place, place.qkv)
        self._turn(place, turn)
        keys, values = place.k, place.v
        if room is not None:
            target, keys, values = room
            target.copy_(place.kv)
        mixed = attention(place.q, keys, values)
        mixed = mixed if place.single else mixed.transpose(1, 2)
        stream = _joined(stream, mixed.reshape(place.flat), self.out, of_mixer[2], place)
        _into(self.up, self.norm_mlp, stream, of_mlp, place, place.up)
        return _joined(stream, self._activated(place), self.down, of_mlp[2], place)

    def _turn(self, place: Place, turn: Tensor | None) -> None:
        """Queries and keys, normalised and rotated where they stand."""
        qk, normed = place.qk, place.normed
        if self.gain is not None:
            if self.norm_heads is not None:
                self.norm_heads(qk, out=normed)
            else:
                normed.copy_(F.layer_norm(qk, qk.shape[-1:], eps=self.eps))
            torch.mul(normed, self.gain, out=qk if turn is None else normed)
        if turn is not None:
            torch.mul(place.qk_pairs if self.gain is None else place.normed_pairs, turn, out=place.qk_pairs)

    def _activated(self, place: Place) -> Tensor:
        if place.gated is None:
            return self.activation(place.up)
        gate, value = place.gated
        return F.silu(gate).mul_(value)


def _into(
    product: Product, norm: Callable[[Tensor], Tensor], stream: Tensor, steered: Steered, place: Place, out: Tensor
) -> None:
    """The product of the stream behind its norm and modulation. RMSNorm of a single vector is one number."""
    if len(stream) > 1 or not isinstance(norm, Normalise):
        product(_modulated(norm(stream), steered, place), out)
        return
    factor, (shift, scale, _) = norm.factor(stream), steered
    if scale is None:
        product.of_row(stream, factor, out)
    elif shift is None:
        product.of_row(stream * scale, factor, out)
    else:
        product(torch.addcmul(shift, stream.view(place.wide), scale, value=factor).view(place.flat), out)


def _modulated(h: Tensor, steered: Steered, place: Place) -> Tensor:
    shift, scale, _ = steered
    if scale is None:
        return h
    if shift is None:
        return h.mul_(scale)
    return torch.addcmul(shift, h.view(place.wide), scale).view(place.flat)


def _joined(stream: Tensor, h: Tensor, product: Product, gate: Tensor | None, place: Place) -> Tensor:
    """The stream with a branch added, whose last product this is."""
    if gate is None:
        return product.add(h, stream)
    stream.view(place.wide).addcmul_(gate, product(h, place.branch).view(place.wide))
    return stream


def _steered(modulation: Modulation, scale: Tensor | None) -> Steered:
    factor = 1 + modulation.scale
    return modulation.shift, factor if scale is None else factor * scale, modulation.gate


def _scale(norm: nn.Module, like: Tensor) -> Tensor | None:
    """(dim,) what RMSNorm multiplies by behind `Normalise`; None for LayerNorm, which does all itself."""
    if not isinstance(norm, RMSNorm):
        return None
    weight = torch.ones_like(like[0]) if norm.weight is None else norm.weight.detach()
    return weight * math.sqrt(len(like))


def _norm(norm: nn.Module, like: Tensor) -> Callable[[Tensor], Tensor]:
    return Normalise(len(like), cast(float, norm.eps), like) if isinstance(norm, RMSNorm) else norm


def _product(linear: nn.Linear, scale: Tensor | None = None, order: Tensor | None = None) -> Product:
    """Of a linear map, behind a scale of its inputs, its outputs in another order."""
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    weight = weight if scale is None else weight * scale
    if order is not None:
        weight, bias = weight[order], None if bias is None else bias[order]
    return Product(weight, bias)
