"""A backbone made ready for one sampling call: the same function, with all that is the same in every pass done once.

What a pass over a few positions costs beside its matrix products is the number of operations, so that there are as few
as possible: gains lie in the weights, queries and keys are normalised and rotated together and enter the cache in one
copy, residual sums are part of the products, and all of it happens in the same few buffers.
"""

import math
from functools import lru_cache
from itertools import repeat
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.attention import realise
from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.compiled import Compiled
from mmgen.model.backbone.cpu.packed_block import Normalise, PackedBlock, Place, Steering
from mmgen.model.backbone.cpu.row import Row, turning
from mmgen.model.backbone.transformer import Block, RMSNorm, Transformer


def pack(transformer: Transformer) -> "Packed | Compiled | None":
    """The backbone made ready, where that is the same function: on a CPU, without gradients, in evaluation mode, all in
    float32 or all in float64, with norms before the branches, and neither compiled nor hooked. None elsewhere. Where
    its passes were asked to be compiled (`compile_passes`), they are.

    It holds copies of the weights as they are now: make a new one for each sampling call.
    """
    if transformer.compiled is not None and not (torch.is_grad_enabled() or transformer.training):
        return cast(Compiled, transformer.compiled)
    dtypes = {p.dtype for p in transformer.parameters()}
    fits = (
        type(transformer) is Transformer
        and not (torch.is_grad_enabled() or transformer.training or torch.is_autocast_enabled("cpu"))
        and len(dtypes) == 1
        and dtypes <= {torch.float32, torch.float64}
        and all(p.device.type == "cpu" for p in transformer.parameters())
        and not any(cast(Block, block).post for block in transformer.blocks)
        and not any(
            each._compiled_call_impl or each._forward_hooks or each._forward_pre_hooks for each in transformer.modules()
        )
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
        self.blocks = [PackedBlock(cast(Block, block), turns) for block in transformer.blocks]
        final = transformer.final_norm
        self._final = self._rms if isinstance(final, RMSNorm) else final
        if isinstance(final, RMSNorm):
            self._gain = final.weight.detach() * math.sqrt(transformer.dim)
            self._normalise = Normalise(transformer.dim, cast(float, final.eps), self._gain)
        self.row: Row | None = None
        self._steered: tuple[Tensor, list[Steering]] | None = None
        self._place = lru_cache(maxsize=2)(self._new_place)

    def follow(self, mask: Mask, layout: Layout) -> None:
        """Tell that the next passes store this row in the cache, piece by piece from its beginning and all of them
        under this mask: what is derived from it is made once.
        """
        self.row = Row(self.of, mask, layout)

    def __call__(
        self,
        x: Tensor,
        layout: Layout,
        mask: Mask,
        cond: Tensor | None = None,
        modulated: Tensor | None = None,
        cache: Cache | None = None,
        store: int | None = None,
    ) -> Tensor:
        """Arguments and result as of `Transformer.forward`."""
        batch, length, _ = x.shape
        begin = 0 if cache is None else cache.length
        whole = None
        if self.row is not None and cache is not None and store is None:
            attention, turn = self.row.piece(begin, begin + length)
            whole = self.row.layout.slice(0, begin + length)
        else:
            keys = layout if cache is None else cache.keys_layout(layout)
            attention, turn = realise(mask, layout, keys, x.dtype), turning(self.of, layout, x.dtype)
        place = self._place(batch, length)
        stream = x.reshape(place.flat).clone()
        rooms = repeat(None) if cache is None else cache.room(length)
        for block, steering, room in zip(self.blocks, self._steer(cond, modulated, length), rooms, strict=False):
            stream = block(stream, place, attention, turn, steering, room)
        if cache is not None and store != 0:
            cache.store(layout if store is None else layout.slice(0, store), whole)
        return self._final(stream).view(x.shape)

    def _rms(self, stream: Tensor) -> Tensor:
        return self._normalise(stream).mul_(self._gain)

    def _new_place(self, batch: int, length: int) -> Place:
        return Place(self.of, batch, length)

    def _steer(self, cond: Tensor | None, modulated: Tensor | None, length: int) -> list[Steering]:
        """The modulation of each block, computed once for a condition of whole rows, which stays from pass to pass."""
        if cond is None or not self.of.modulated:
            return [block.plain for block in self.blocks]
        stays = cond.dim() == 2 and modulated is None
        if self._steered is None or not stays or self._steered[0] is not cond:
            each = cond[:, None] if cond.dim() == 2 else cond
            each = each if self.of.condition is None else self.of.condition(F.silu(each))
            steered = [block.steer(each, modulated) for block in self.blocks]
            if not stays:
                return steered if length > 1 else [each.of_rows() for each in steered]
            self._steered = (cond, steered)
            self._of_rows = [each.of_rows() for each in steered]
        return self._steered[1] if length > 1 else self._of_rows
