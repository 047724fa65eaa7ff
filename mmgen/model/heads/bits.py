"""A head over binary codes, factorised over groups of bits: O(bits) outputs for a vocabulary of 2^bits."""

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.categorical import ChoiceHead

LARGEST_GROUP = 12  # bits whose joint distribution one softmax still holds comfortably (4096 logits)


class BitsHead(ChoiceHead):
    """One softmax of size 2^g for each group of g bits; groups are independent given the features (BSQ-ViT, Zhao et
    al. 2024).

    Args:
        spec: of the tokens.
        dim: width of the backbone.
        group: bits a group; the largest divisor of their number up to 12 by default, which makes small codes one joint
            softmax.
    """

    def __init__(self, spec: TokenSpec, dim: int, group: int | None = None) -> None:
        if spec.kind != "bits":
            raise UserError(f"BitsHead is for binary tokens, and these are {spec.kind}")
        size = spec.size
        group = group or max(g for g in range(1, LARGEST_GROUP + 1) if size % g == 0)
        if size % group:
            raise UserError(f"groups of {group} bits do not divide a code of {size} bits")
        super().__init__(dim, 2**group, size // group)
        self.group = group

    def _shifts(self, device: torch.device) -> Tensor:
        return torch.arange(self.groups - 1, -1, -1, device=device) * self.group

    def split(self, values: Tensor) -> Tensor:
        """Tokens (...,) int64 -> (..., groups) in [0, 2^group), most significant group first."""
        return (values[..., None] >> self._shifts(values.device)) & (self.choices - 1)

    def join(self, choices: Tensor) -> Tensor:
        """Inverse of `split`."""
        return (choices << self._shifts(choices.device)).sum(-1)
