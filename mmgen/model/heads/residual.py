"""Softmaxes over several codebooks, one for each level of residual tokens."""

import torch.nn.functional as F
from torch import Tensor

from mmgen.model.heads.categorical import CategoricalHead


class ResidualHead(CategoricalHead):
    """The codes of all levels of a position, independent of each other given the features (MusicGen, Copet et al. 2023,
    section 2.3). What is predicted together is up to the paradigm, which may delay deeper levels, hide them, or bring
    features of its own to each.

    Args:
        size: codes a level.
        dim: width of the backbone.
        levels: codebooks a position.
        ends: one more choice at each level, `size`, which says at the first level that the row is over.
    """

    def __init__(self, size: int, dim: int, levels: int, ends: bool = False) -> None:
        super().__init__(size + ends, dim, groups=levels)

    def at_level(self, features: Tensor, level: int) -> Tensor:
        """Logits of one level, whose features these are: (..., dim) -> (..., choices)."""
        rows = slice(level * self.choices, (level + 1) * self.choices)
        return F.linear(features, self.project.weight[rows], self.project.bias[rows])

    def split(self, values: Tensor) -> Tensor:
        """Tokens (..., levels) int64 are the choices already."""
        return values

    def join(self, choices: Tensor) -> Tensor:
        """Inverse of `split`."""
        return choices
