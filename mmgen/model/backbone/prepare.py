"""A backbone and a head made ready for one sampling call: here a way to run their passes is chosen."""

from typing import TypeVar, cast

import torch
from torch import nn

from mmgen.model.backbone.cpu.packed import pack
from mmgen.model.backbone.cpu.products import with_packed_linears
from mmgen.model.backbone.transformer import Passes, Transformer
from mmgen.model.plain_module import is_hooked

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def prepare(transformer: Transformer) -> Passes | Transformer:
    """The backbone made ready for one sampling call, during which its weights and modules stay as they are: compiled
    where asked for (`compile_passes`), packed on a CPU, itself where neither computes exactly the same. With
    cross-attention or recurrent mixers it is called as it is.
    """
    if transformer.cross_attention or transformer.recurrent:
        return transformer
    quick = not (torch.is_grad_enabled() or transformer.training)
    # torch.compile does not notice hooks that come or go, so that whatever has one is called
    if quick and transformer.compiled is not None and not any(map(is_hooked, transformer.modules())):
        return cast(Passes, transformer.compiled)
    return pack(transformer) or transformer


def prepare_head(head: AnyModule) -> AnyModule:
    """The head made ready for one sampling call; all of it that is not exactly as its class says stays as it is."""
    return with_packed_linears(head)
