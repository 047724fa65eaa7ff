"""A static, preallocated key-value cache that also remembers what its positions are."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout
from mmgen.model.backbone.cross_attention import Memory


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
        batch, *rest = shape
        self._stored = torch.empty(depth, 2, batch, *rest, device=device, dtype=dtype)  # keys, then values
        self.capacity = shape[2]
        self.length = 0
        self.layout: Layout | None = None
        self.states: dict[int, tuple[Tensor, Tensor]] = {}  # block -> state of its recurrent mixer
        self.of_memory: dict[int, tuple[Tensor, Tensor]] = {}  # block -> memory, and what was computed of it

    @property
    def whole(self) -> Tensor:
        """(depth, 2, B, kv_heads, capacity, head_dim), keys and values of all places, stored or not."""
        return self._stored

    def keys_layout(self, new: Layout) -> Layout:
        """Layout of all keys a pass sees: the stored positions, then the new ones."""
        full = f"the cache holds {self.capacity} positions; {self.length} are stored and {new.length} more do not fit"
        require(self.length + new.length <= self.capacity, full)
        return new if self.layout is None else self.layout + new

    def reserve(self, more: int) -> None:
        """Make room for so many new positions; the capacity at least doubles, so that rows are copied rarely."""
        needed = self.length + more
        if needed <= self.capacity:
            return
        self.capacity = max(2 * self.capacity, needed)
        stored, *rest = self._stored.shape[:4], self._stored.shape[5]
        larger = self._stored.new_empty(*stored, self.capacity, *rest)
        larger[..., : self.length, :] = self._stored[..., : self.length, :]
        self._stored = larger

    def slice(self, block: int, stored: int) -> "BlockCache":
        """The part of a block, for one pass of which so many leading positions stay."""
        return BlockCache(self, block, stored)

    def room(self, new: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each block where so many new keys and values go, (2, B, kv_heads, new, head_dim), and views of all keys
        and of all values, new ones included: `BlockCache.extend` for all blocks at once.
        """
        stop = self.length + new
        seen = self._stored[..., :stop, :]
        return zip(seen[..., self.length :, :].unbind(), seen[:, 0].unbind(), seen[:, 1].unbind(), strict=True)

    def store(self, layout: Layout, count: int | None = None, whole: Layout | None = None) -> None:
        """Keep the `count` leading positions, all by default, of the pass over `layout` that has just run. `whole` is
        the layout of all stored positions then; put together from its parts by default.
        """
        if count == 0:
            return
        stored = layout if count is None else layout.slice(0, count)
        self.layout = self.keys_layout(stored) if whole is None else whole
        self.length += stored.length

    def keep(self, wanted: Tensor) -> None:
        """Forget stored positions where wanted (length,) bool is false; the rest moves together, and no key changes."""
        index = wanted.nonzero()[:, 0]
        if self.layout is None or len(index) == self.length:
            return
        if self.states:
            raise UserError("a recurrent mixer forgets no position: sample without a window")
        self._stored[..., : len(index), :] = self._stored[..., index, :]
        self.layout, self.length = self.layout.take(index), len(index)


class BlockCache:
    """The part of a cache that belongs to one block, during one pass.

    Args:
        cache: the whole.
        block: number of the block.
        stored: how many of the leading new positions stay.
    """

    def __init__(self, cache: Cache, block: int, stored: int) -> None:
        self._cache, self._block, self.stored = cache, block, stored

    @property
    def state(self) -> tuple[Tensor, Tensor] | None:
        """Of a recurrent mixer behind the stored positions; None at the beginning."""
        return self._cache.states.get(self._block)

    @state.setter
    def state(self, state: tuple[Tensor, Tensor]) -> None:
        self._cache.states[self._block] = state

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values (B, kv_heads, n, head_dim) behind the stored ones; returns views of all."""
        start, stored = self._cache.length, self._cache.whole[self._block]
        stop = start + keys.shape[2]
        stored[0, :, :, start:stop], stored[1, :, :, start:stop] = keys, values
        return stored[0, :, :, :stop], stored[1, :, :, :stop]

    def once(self, memory: Memory, compute: Callable[[], Tensor]) -> Tensor:
        """What was computed of the same memory in an earlier pass; computed where there is another one."""
        known = self._cache.of_memory.get(self._block)
        if known is None or known[0] is not memory.values:
            known = self._cache.of_memory[self._block] = memory.values, compute()
        return known[1]
