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
