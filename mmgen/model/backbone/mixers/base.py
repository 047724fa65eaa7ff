"""What every mixer is: the part of a block that mixes the positions of a row."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone.cache import BlockCache
from mmgen.model.backbone.context import Context


class MixerShape(NamedTuple):
    """What a backbone says to its mixers; see `mmgen.model.backbone.Transformer`."""

    dim: int
    heads: int
    kv_heads: int
    bias: bool
    qk_norm: str
    eps: float


class Mixer(nn.Module, ABC):
    """A map of a row of positions that ends in the linear map `out`; the backbone gives it its `MixerShape`."""

    out: nn.Linear

    recurrent: ClassVar[bool] = False
    """Whether it has a state in the cache; its rows are then neither packed nor compiled."""

    @abstractmethod
    def forward(self, x: Tensor, context: Context, cache: BlockCache | None = None) -> Tensor:
        """x (B, N, dim) -> (B, N, dim)."""

    def require(self, mask: Mask, queries: Layout, keys: Layout) -> None:
        """Raises UserError for a mask that it cannot follow."""


MixerFactory = Callable[[MixerShape], Mixer]
"""What makes a mixer of the options of its backbone."""
