"""Bytes that autograd keeps for the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Saved:
    """What was kept so far, once a storage, without what is there anyway."""

    known: set[int]
    kept: dict[int, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(each.untyped_storage().nbytes() for each in self.kept.values())

    def keep(self, tensor: Tensor) -> Tensor:
        """As `saved_tensors_hooks` wants it. A tensor that is held cannot lend its address to another."""
        address = tensor.untyped_storage().data_ptr()
        if address not in self.known:
            self.kept.setdefault(address, tensor)
        return tensor


@contextmanager
def saved_bytes(module: nn.Module) -> Iterator[Saved]:
    """Counts, while this lasts, what autograd keeps besides the module's own parameters and buffers."""
    own = {each.untyped_storage().data_ptr() for each in (*module.parameters(), *module.buffers())}
    saved = Saved(own)
    with torch.autograd.graph.saved_tensors_hooks(saved.keep, lambda tensor: tensor):
        yield saved
