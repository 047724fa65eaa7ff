"""Softmaxes over several codebooks, one for each level of residual tokens."""

from torch import Tensor

from mmgen.heads.categorical import CategoricalHead


class ResidualHead(CategoricalHead):
    """The codes of all levels of a position, independent of each other given the features (MusicGen, Copet et al. 2023,
    section 2.3). What is predicted together is up to the paradigm, which may delay deeper levels or hide them.

    Args:
        size: codes a level.
        dim: width of the backbone.
        levels: codebooks a position.
        ends: one more choice at each level, `size`, which says at the first level that the row is over.
    """

    def __init__(self, size: int, dim: int, levels: int, ends: bool = False) -> None:
        super().__init__(size + ends, dim, groups=levels)

    def split(self, values: Tensor) -> Tensor:
        """Tokens (..., levels) int64 are the choices already."""
        return values

    def join(self, choices: Tensor) -> Tensor:
        """Inverse of `split`."""
        return choices
