"""Operations of a stack of blocks, from the sizes of its maps. A multiplication with its addition counts as two, and a
backward pass as twice its forward pass, recomputation not counted: what "model FLOPs" and MFU mean (PaLM, Chowdhery et
al. 2022, appendix B).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from mmgen.model.backbone.block import Block
from mmgen.model.backbone.modulation import AdaLN
from mmgen.tools.plan.rehearsal import Pass


@dataclass(frozen=True)
class Flops:
    """Of some samples, forward and backward.

    Args:
        linear: of maps.
        attention: of products of queries, keys and values, all pairs counted.
        visible: of those pairs that the masks show.
    """

    linear: float = 0.0
    attention: float = 0.0
    visible: float = 0.0

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.linear + other.linear, self.attention + other.attention, self.visible + other.visible)

    def __mul__(self, times: float) -> "Flops":
        return Flops(self.linear * times, self.attention * times, self.visible * times)

    @property
    def dense(self) -> float:
        """All, with every pair of positions counted."""
        return self.linear + self.attention

    @property
    def sparse(self) -> float:
        """All, with those pairs counted that the masks show."""
        return self.linear + self.visible


def of_pass(one: Pass, depth: int) -> Flops:
    """Of a stack of so many blocks, given this."""
    block, times = one.transformer.blocks[0], 3 if one.graded else 1
    assert isinstance(block, Block)
    positions = one.rows * one.positions
    maps = 2 * positions * (_weights([block.mixer, block.mlp]))
    if block.adaln is not None:
        maps += 2 * one.conditions * _weights([block.adaln])
    attention = 4 * positions * one.positions * one.transformer.dim
    shared = 2 * one.conditions * _weights([one.transformer.condition])
    return Flops(shared + depth * maps, depth * attention, depth * attention * one.visible) * times


def _weights(modules: Iterable[nn.Module | AdaLN | None]) -> int:
    """Numbers in the matrices of linear maps."""
    inner = [each for module in modules if module is not None for each in module.modules()]
    return sum(each.weight.numel() for each in inner if isinstance(each, nn.Linear))
