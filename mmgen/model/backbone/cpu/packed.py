"""A backbone made ready for one sampling call: the same function, with all that is the same in every pass done once.

A pass over a few positions costs as much as it has operations: gains lie in the weights, queries and keys are
normalised and rotated together and enter the cache in one copy, residual sums are part of the products, and all of it
happens in the same few buffers.
"""

import math
from functools import lru_cache
from itertools import repeat
from types import NoneType
from typing import cast

import torch
from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.attention import Attend, realise
from mmgen.model.backbone.block import Block
from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.cpu.packed_block import Normalise, PackedBlock, Place, Steering, can_pack, shape
from mmgen.model.backbone.norms import RMSNorm
from mmgen.model.backbone.positions import Rotary
from mmgen.model.backbone.transformer import Modulator, Passes, Transformer
from mmgen.model.plain_module import is_plain

_ALL, _CAUSAL = Attend(), Attend(causal=True)


def pack(transformer: Transformer) -> "Packed | None":
    """The backbone made ready, where that is the same function: on a CPU, without gradients, in evaluation mode, all in
    float32 or all in float64. Blocks with anything that is not exactly as its class says (an adapter, a hook, quantised
    weights) are called as they are; None where no block can be packed. It holds copies of the weights: make a new one
    for each sampling call.
    """
    dtypes = {p.dtype for p in transformer.parameters()}
    fits = (
        is_plain(transformer, Transformer)
        and not (torch.is_grad_enabled() or transformer.training or torch.is_autocast_enabled("cpu"))
        and type(transformer.rotary) in (Rotary, NoneType)  # whose halves are equal
        and len(dtypes) == 1
        and dtypes <= {torch.float32, torch.float64}
        and all(p.device.type == "cpu" for p in transformer.parameters())
        and any(can_pack(block) for block in transformer.blocks)
    )
    return Packed(transformer) if fits else None


class Packed(Passes):
    """Runs a backbone's blocks, as `Transformer.forward` does; see `pack`."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__(transformer)
        turns = transformer.rotary is not None
        blocks = cast(list[Block], list(transformer.blocks))
        self._like = next(filter(can_pack, blocks))
        packs = [can_pack(block) and shape(block) == shape(self._like) for block in blocks]
        self.blocks = [PackedBlock(block, turns) if fits else None for block, fits in zip(blocks, packs, strict=True)]
        self._gain: Tensor | None = None
        final = transformer.final_norm
        if is_plain(final, RMSNorm):
            self._gain = cast(Tensor, final.weight).detach() * math.sqrt(transformer.dim)
            self._normalise = Normalise(transformer.dim, cast(float, final.eps), self._gain)
        self.rows: list[Row] = []
        self._steered: tuple[Tensor, list[Steering | None]] | None = None
        self._place = lru_cache(maxsize=2)(self._new_place)

    def follow(self, mask: Mask, layout: Layout) -> None:
        self.rows = [Row(self.of, each, layout) for each in mask.layers]

    def run(
        self, x: Tensor, layout: Layout, mask: Mask, by: Modulator, cache: Cache | None, store: int | None
    ) -> Tensor:
        (cond, modulated), (batch, length, _) = by, x.shape
        begin = 0 if cache is None else cache.length
        whole = None
        if self.rows and cache is not None and store is None:
            attention, turns = zip(*(row.piece(begin, begin + length) for row in self.rows))
            turn, whole = turns[0], self.rows[0].layout.slice(0, begin + length)
        else:
            keys = layout if cache is None else cache.keys_layout(layout)
            attention = tuple(realise(each, layout, keys, x.dtype) for each in mask.layers)
            turn = turning(self.of, layout, x.dtype)
        place = self._place(batch, length)
        stream = x.reshape(place.flat).clone()
        context: Context | None = None
        rooms = repeat(None) if cache is None else cache.room(length)
        steered = self._steer(cond, modulated, length)
        for index, (block, steering, room) in enumerate(zip(self.blocks, steered, rooms, strict=False)):
            if block is not None and steering is not None:
                stream = block(stream, place, attention[index % len(attention)], turn, steering, room)
                continue
            context = context or self._context(attention[0], layout, cond, modulated, x.dtype)
            context = context._replace(attention=attention[index % len(attention)])
            cached = None if cache is None else cache.slice(index, length if store is None else store)
            out = self.of.blocks[index](stream.view(x.shape), context, cached)
            stream = out.reshape(place.flat).clone()  # the next block may write over it, and a hook may hold it
        if cache is not None:
            cache.store(layout, store, whole)
        if self._gain is None:
            return cast(Tensor, self.of.final_norm(stream.view(x.shape)))
        return self._normalise(stream).mul_(self._gain).view(x.shape)

    def _new_place(self, batch: int, length: int) -> Place:
        return Place(self.of, self._like, batch, length)

    def _context(
        self, attention: Attend, layout: Layout, cond: Tensor | None, modulated: Tensor | None, dtype: torch.dtype
    ) -> Context:
        """For blocks that are called as they are."""
        tables = None if self.of.rotary is None else self.of.rotary.tables(layout, dtype)
        return Context(attention, layout, tables, self.of.modulation(cond), modulated)

    def _steer(self, cond: Tensor | None, modulated: Tensor | None, length: int) -> list[Steering | None]:
        """The modulation of each packed block, kept from pass to pass for a condition of whole rows."""
        if cond is None or not self.of.modulated:
            return [None if block is None else block.plain for block in self.blocks]
        stays = cond.dim() == 2 and modulated is None
        if self._steered is None or not stays or self._steered[0] is not cond:
            each = cast(Tensor, self.of.modulation(cond))
            steered = [None if block is None else block.steer(each, modulated) for block in self.blocks]
            if not stays and length > 1:
                return steered
            of_rows = [None if each is None else each.of_rows() for each in steered]
            if not stays:
                return of_rows
            self._steered, self._of_rows = (cond, steered), of_rows
        return self._steered[1] if length > 1 else self._of_rows


class Row:
    """The pieces of a row, which see nothing that is read later: attention and rotary tables, derived once."""

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
    """(b, N, 1, head_dim / 2) complex numbers of length 1 that turn pairs of channels; None without a rotation."""
    if transformer.rotary is None:
        return None
    cos, sin = (table.transpose(1, 2).chunk(2, dim=-1)[0] for table in transformer.rotary.tables(layout, dtype))
    return torch.complex(cos.contiguous(), sin.contiguous())
