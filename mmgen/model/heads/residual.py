"""Softmaxes over several codebooks, one for each level of residual tokens."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.categorical import ChoiceHead
from mmgen.model.plain_module import is_plain


class ResidualHead(ChoiceHead):
    """The codes of all levels of a position, independent of each other given the features (MusicGen, Copet et al. 2023,
    section 2.3). What is predicted together is up to the paradigm, which may delay deeper levels, hide them, or bring
    features of its own to each.

    Args:
        spec: of the tokens.
        dim: width of the backbone.
    """

    def __init__(self, spec: TokenSpec, dim: int) -> None:
        if spec.kind != "residual":
            raise UserError(f"ResidualHead is for residual tokens, and these are {spec.kind}")
        super().__init__(dim, spec.size, spec.levels)

    def at_level(self, features: Tensor, level: int) -> Tensor:
        """Logits of one level, whose features these are: (..., dim) -> (..., choices)."""
        if not is_plain(self.project, nn.Linear):
            return self.logits(features)[..., level, :]
        rows = slice(level * self.choices, (level + 1) * self.choices)
        return F.linear(features, self.project.weight[rows], self.project.bias[rows])

    def split(self, values: Tensor) -> Tensor:
        """Tokens (..., levels) int64 are the choices already."""
        return values

    def join(self, choices: Tensor) -> Tensor:
        """Inverse of `split`."""
        return choices
