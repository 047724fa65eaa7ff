"""A backbone made ready for one sampling call: the same function, with all that is the same in every pass done once.

What a pass over a few positions costs beside its matrix products is the number of operations, so that there are as few
as possible: gains lie in the weights, queries and keys are normalised and rotated together and enter the cache in one
copy, residual sums are part of the products, and all of it happens in the same few buffers.
"""

import math
from functools import lru_cache
from itertools import repeat
from types import NoneType
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.attention import Attend, realise
from mmgen.model.backbone.block import Block
from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.cpu.packed_block import Normalise, PackedBlock, Place, Steering, can_pack, shape
from mmgen.model.backbone.cpu.row import Row, turning
from mmgen.model.backbone.cross_attention import Memory
from mmgen.model.backbone.norms import RMSNorm
from mmgen.model.backbone.positions import Rotary
from mmgen.model.backbone.transformer import Transformer
from mmgen.model.plain_module import is_plain


def pack(transformer: Transformer) -> "Packed | None":
    """The backbone made ready, where that is the same function: on a CPU, without gradients, in evaluation mode, all in
    float32 or all in float64. None elsewhere, or where no block can be packed: a block with anything in it that is not
    exactly as its class says (an adapter, a hook, a parametrisation, quantised weights) is called as it is.

    It holds copies of the weights as they are now: make a new one for each sampling call.
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


class Packed:
    """Runs a backbone's blocks, as `Transformer.forward` does.

    Args:
        transformer: see `pack`.
    """

    def __init__(self, transformer: Transformer) -> None:
        self.of = transformer
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
        """Tell that the next passes store this row in the cache, piece by piece from its beginning and all of them
        under this mask: what is derived from it is made once.
        """
        self.rows = [Row(self.of, each, layout) for each in mask.layers]

    def __call__(
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
        """Arguments and result as of `Transformer.forward`."""
        assert memory is None, "a backbone with cross-attention is called as it is"
        batch, length, _ = x.shape
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
        if cache is not None and store != 0:
            cache.store(layout if store is None else layout.slice(0, store), whole)
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
        return Context(attention, layout, tables, None if cond is None else self._mapped(cond), modulated)

    def _mapped(self, cond: Tensor) -> Tensor:
        cond = cond[:, None] if cond.dim() == 2 else cond
        return cond if self.of.condition is None else self.of.condition(F.silu(cond))

    def _steer(self, cond: Tensor | None, modulated: Tensor | None, length: int) -> list[Steering | None]:
        """The modulation of each packed block, computed once for a condition of whole rows, which stays from pass to
        pass.
        """
        if cond is None or not self.of.modulated:
            return [None if block is None else block.plain for block in self.blocks]
        stays = cond.dim() == 2 and modulated is None
        if self._steered is None or not stays or self._steered[0] is not cond:
            each = self._mapped(cond)
            steered = [None if block is None else block.steer(each, modulated) for block in self.blocks]
            if not stays and length > 1:
                return steered
            of_rows = [None if each is None else each.of_rows() for each in steered]
            if not stays:
                return of_rows
            self._steered, self._of_rows = (cond, steered), of_rows
        return self._steered[1] if length > 1 else self._of_rows
