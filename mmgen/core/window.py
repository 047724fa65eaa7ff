"""The one policy of what stays in a cache, which also builds the mask to train under: they cannot differ."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role
from mmgen.core.mask import Mask
from mmgen.core.masks import block_sink, block_window
from mmgen.core.shape_cache import passing


@dataclass(frozen=True)
class Window:
    """Which earlier blocks a block sees: the last few, and the first few (StreamingLLM, Xiao et al. 2024).

    Args:
        width: blocks in all that a block sees, itself among them; None for all.
        sink: blocks at the beginning that stay visible besides. Their distance grows without bound, which rotary
            positions do not meet in training: 0 where clips are to become much longer than those trained on.
    """

    width: int | None = None
    sink: int = 0

    def __post_init__(self) -> None:
        if (self.width is not None and self.width < 1) or self.sink < 0:
            raise UserError(f"window {self.width} must be at least 1 and sink {self.sink} at least 0")
        if self.width is None and self.sink:
            raise UserError(f"sink {self.sink} says nothing without a window, which shows all blocks already")

    def restrict(self, mask: Mask) -> Mask:
        """The mask to train and sample under; the same object every time."""
        return mask if self.width is None else _restricted(mask, self.width, self.sink)

    def visible(self, layout: Layout, block: int) -> Tensor:
        """(N,) bool: the stored positions of `layout` that queries of this block, or of later ones, may see."""
        number, role = layout.block[0], layout.role[0]
        if self.width is None:
            return number == number
        return (role == Role.PREFIX) | (number > block - self.width) | (number < self.sink)

    def passing(self) -> AbstractContextManager[None]:
        """For passes over cached positions: with a window no such layout comes again, and a rollout may have no end."""
        return nullcontext() if self.width is None else passing()

    def capacity(self, prefix: int, length: int, longest: int) -> int:
        """Positions of a cache that goes through a row block by block: what is kept, and two blocks on the way, one
        just finished and one being made; `prefix` positions of the condition, `length` of all blocks and `longest` of
        the longest.
        """
        blocks = length if self.width is None else min(length, (self.sink + self.width) * longest)
        return prefix + blocks + longest


@lru_cache(maxsize=256)
def _restricted(mask: Mask, width: int, sink: int) -> Mask:
    return mask & (block_window(width) | block_sink(sink) if sink else block_window(width))
