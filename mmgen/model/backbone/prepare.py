"""A backbone and a head made ready for one sampling call: here a way to run their passes is chosen."""

from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.cpu.packed import pack
from mmgen.model.backbone.cpu.products import with_packed_linears
from mmgen.model.backbone.cross_attention import Memory
from mmgen.model.backbone.transformer import Transformer
from mmgen.model.plain_module import is_hooked

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Passes(Protocol):
    """What runs the passes of a backbone: itself, or something quicker that computes the same."""

    def follow(self, mask: Mask, layout: Layout) -> None:
        """Tell that the next passes store this row in the cache, piece by piece from its beginning and all of them
        under this mask.
        """
        ...

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
        ...


def prepare(transformer: Transformer) -> Passes:
    """The backbone made ready for the passes of one sampling call, during which its weights and modules stay as they
    are: compiled where that was asked for (`compile_passes`), packed on a CPU, itself where neither computes exactly
    what calling it does. With cross-attention or recurrent mixers it is called as it is; their keys and values
    and their states are in the cache.
    """
    if transformer.cross_attention or transformer.recurrent:
        return transformer
    quick = not (torch.is_grad_enabled() or transformer.training)
    # torch.compile does not notice hooks that come or go, so that whatever has one is called
    if quick and transformer.compiled is not None and not any(map(is_hooked, transformer.modules())):
        return transformer.compiled
    return pack(transformer) or transformer


def prepare_head(head: AnyModule) -> AnyModule:
    """The head made ready for one sampling call; all of it that is not exactly as its class says stays as it is."""
    return with_packed_linears(head)
