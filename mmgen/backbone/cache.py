"""A static, preallocated key-value cache that also remembers what its positions are."""

import torch
from torch import Tensor

from mmgen.errors import UserError
from mmgen.layout import Layout


class Cache:
    """Keys and values of final positions, for every block of a backbone.

    A forward pass keeps the leading positions that it is told to store (a token, a block, a prefix); the others serve
    that one pass and are overwritten by the next, as the noisy block of a blockwise sampler is.

    Args:
        depth: number of blocks.
        shape: (batch, kv_heads, capacity, head_dim).
        device: where the cache lives.
        dtype: its precision.
    """

    def __init__(self, depth: int, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype) -> None:
        self._keys = torch.empty(depth, *shape, device=device, dtype=dtype)
        self._values = torch.empty_like(self._keys)
        self.capacity = shape[2]
        self.length = 0
        self.layout: Layout | None = None

    def keys_layout(self, new: Layout) -> Layout:
        """Layout of all keys a pass sees: the stored positions, then the new ones."""
        if self.length + new.length > self.capacity:
            raise UserError(
                f"the cache holds {self.capacity} positions; {self.length} are stored and {new.length} more do not fit"
            )
        return new if self.layout is None else self.layout + new

    def reserve(self, more: int) -> None:
        """Make room for so many new positions; where they do not fit, the capacity at least doubles, so that a row of
        unknown length is copied a few times only.
        """
        needed = self.length + more
        if needed <= self.capacity:
            return
        self.capacity = max(2 * self.capacity, needed)
        self._keys, self._values = (self._larger(stored) for stored in (self._keys, self._values))

    def _larger(self, stored: Tensor) -> Tensor:
        larger = stored.new_empty(*stored.shape[:3], self.capacity, stored.shape[4])
        larger[:, :, :, : self.length] = stored[:, :, :, : self.length]
        return larger

    def extend(self, block: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values (B, kv_heads, n, head_dim) of a block behind the stored ones; returns views of
        both together.
        """
        stop = self.length + keys.shape[2]
        self._keys[block, :, :, self.length : stop] = keys
        self._values[block, :, :, self.length : stop] = values
        return self._keys[block, :, :, :stop], self._values[block, :, :, :stop]

    def store(self, layout: Layout) -> None:
        """Keep the leading positions, these, of the pass that has just run."""
        self.layout = self.keys_layout(layout)
        self.length += layout.length

    def keep(self, kept: Tensor) -> None:
        """Forget stored positions; kept (length,) bool says which stay. They move together, in their order, so that
        the cache need never grow. Keys are rotated before they are stored, so that none changes.
        """
        index = kept.nonzero()[:, 0]
        if self.layout is None or len(index) == self.length:
            return
        for stored in (self._keys, self._values):
            stored[:, :, :, : len(index)] = stored[:, :, :, index]
        self.layout, self.length = self.layout.take(index), len(index)
