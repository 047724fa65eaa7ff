"""Passes of a backbone as one compiled function each, on a GPU one CUDA graph each: nothing is left for Python to do
between their kernels (as gpt-fast does it; PyTorch 2023).

A compiled pass needs the same shapes each time, so that a cached pass attends to the whole cache, where what is not
there yet is hidden, and writes where an index says.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.attention import Attend, realise
from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.transformer import Modulator, Passes, Transformer


class Compiled(Passes):
    """Runs a backbone's blocks, as `Transformer.forward` does, in evaluation mode and without gradients. Each new shape
    of a pass is compiled when it is first met, which takes up to minutes.

    Args:
        transformer: whose passes they are. Its weights may change, and be of any precision.
        backend: of `torch.compile`.
    """

    def __init__(self, transformer: Transformer, backend: str = "inductor") -> None:
        super().__init__(transformer)
        graphs = backend == "inductor" and next(transformer.parameters()).is_cuda
        self._run: Any = torch.compile(_run, backend=backend, mode="reduce-overhead" if graphs else None)

    def run(
        self, x: Tensor, layout: Layout, mask: Mask, by: Modulator, cache: Cache | None, store: int | None
    ) -> Tensor:
        (cond, modulated), dtype = by, self.of.dtype
        tables = None if self.of.rotary is None else self.of.rotary.tables(layout, dtype)
        cond = None if cond is None else self.of.modulation(cond.to(dtype))
        if cache is None:
            attention = [realise(each, layout, layout, dtype) for each in mask.layers]
            stored, places = None, None
        else:
            attention, stored = [_over(cache, each, layout, dtype) for each in mask.layers], cache.whole
            places = torch.arange(cache.length, cache.length + layout.length, device=x.device)
            torch._dynamo.mark_static_address(stored)  # graphs write into it where it lies
        torch.compiler.cudagraph_mark_step_begin()
        contexts = [Context(each, None, tables, cond, modulated) for each in attention]
        out = self._run(self.of, x.to(dtype), contexts, stored, places)
        if cache is not None:
            cache.store(layout, store)
        return out.to(x.dtype, copy=True)  # the next run of a graph writes over what it returned


def compile_passes(transformer: Transformer, backend: str = "inductor") -> None:
    """Have a backbone sample by compiled passes from now on."""
    transformer.compiled = Compiled(transformer, backend)


class _StaticCache(NamedTuple):
    """A block's part of the cache, all of it visible: `stored` (2, B, kv_heads, capacity, head_dim), of which new keys
    and values take the `places` (n,) int64.
    """

    stored: Tensor
    places: Tensor

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self.stored[0].index_copy_(2, self.places, keys)
        self.stored[1].index_copy_(2, self.places, values)
        return self.stored[0], self.stored[1]


def _over(cache: Cache, mask: Mask, layout: Layout, dtype: torch.dtype) -> Attend:
    """Attention of new positions to a whole cache, of which nobody sees what is not stored yet."""
    if cache.length == 0:
        cache.whole.zero_()  # a hidden value has the weight 0, which makes no number of one that is none
    keys = cache.keys_layout(layout)
    beyond = cache.capacity - keys.length
    if mask.leak:
        return Attend(dense=F.pad(mask.bias(layout, keys).to(dtype), (0, beyond), value=-torch.inf))
    return Attend(dense=F.pad(mask.dense(layout, keys), (0, beyond)))


def _run(
    transformer: Transformer,
    x: Tensor,
    contexts: list[Context],
    stored: Tensor | None,
    places: Tensor | None,
) -> Tensor:
    for index, block in enumerate(transformer.blocks):
        context = contexts[index % len(contexts)]
        x = block(x, context, None if stored is None or places is None else _StaticCache(stored[index], places))
    return transformer.final_norm(x)
