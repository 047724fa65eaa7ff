"""Softmaxes over the choices of a token: one over a codebook, one a group of bits, or one a level."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import require
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.base import Head, Law, Sharpening, distribution, draw
from mmgen.model.heads.chunked import chunked_cross_entropy
from mmgen.model.plain_module import is_plain

MANY = 2**25  # logits of a batch, 128 MiB in float32 and thrice that in training, from which on they are made in parts
LARGEST_GROUP = 12  # bits whose joint distribution one softmax still holds comfortably (4096 logits)


class ChoiceHead(Head):
    """Logits of `groups` independent choices a token, 0 at initialisation: the loss starts at groups log(choices)."""

    law: ClassVar[Law] = "choices"

    def __init__(self, dim: int, choices: int, groups: int) -> None:
        super().__init__()
        self.groups, self.choices, self.uniforms = groups, choices, groups
        self.project = nn.Linear(dim, groups * choices)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def logits(self, features: Tensor) -> Tensor:
        """features (..., dim) -> (..., groups, choices)."""
        return rearrange(self.project(features), "... (g v) -> ... g v", g=self.groups)

    def predict(self, features: Tensor) -> Tensor:
        """What guidance and samplers work on: the logits."""
        return self.logits(features)

    def split(self, values: Tensor) -> Tensor:
        """Tokens (...,) int64, or (..., levels), -> the choice in each group (..., groups)."""
        return values[..., None]

    def join(self, choices: Tensor) -> Tensor:
        """Inverse of `split`."""
        return choices[..., 0]

    def draw(self, prediction: Tensor, rules: Sharpening, chance: Tensor) -> Tensor:
        """Tokens: logits (..., groups, choices), chance (..., groups) in [0, 1)."""
        return self.join(draw(distribution(prediction, rules), chance))

    def nats(self, features: Tensor, targets: Tensor) -> Tensor:
        """-log p(target), in nats: features (..., dim), targets (...,) int64 -> (...,). In float32 or wider."""
        return self.nats_by_group(features, targets).sum(-1)

    def nats_by_group(self, features: Tensor, targets: Tensor) -> Tensor:
        """The same of each choice, (..., groups)."""
        choices = self.split(targets)
        if choices.numel() * self.choices >= MANY and is_plain(self.project, nn.Linear):
            flat, wanted = features.flatten(0, -2), choices.flatten(0, -2)
            return chunked_cross_entropy(flat, self.project.weight, self.project.bias, wanted).view(choices.shape)
        logits = self.logits(features)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        each = F.cross_entropy(logits.flatten(0, -2), choices.flatten(), reduction="none")
        return each.view(choices.shape)


class CategoricalHead(ChoiceHead):
    """One softmax over a codebook.

    Args:
        spec: of the tokens.
        dim: width of the backbone.
    """

    def __init__(self, spec: TokenSpec, dim: int) -> None:
        message = f"CategoricalHead is for tokens of one codebook, and these are {spec.kind}"
        require(spec.kind == "categorical", message)
        super().__init__(dim, spec.size, 1)


class BitsHead(ChoiceHead):
    """One softmax of size 2^g for each group of g bits; groups are independent given the features (BSQ-ViT, Zhao et
    al. 2024): O(bits) outputs for a vocabulary of 2^bits.

    Args:
        spec: of the tokens.
        dim: width of the backbone.
        group: bits a group; the largest divisor of their number up to 12 by default, which makes small codes one joint
            softmax.
    """

    def __init__(self, spec: TokenSpec, dim: int, group: int | None = None) -> None:
        require(spec.kind == "bits", f"BitsHead is for binary tokens, and these are {spec.kind}")
        size = spec.size
        group = group or max(g for g in range(1, LARGEST_GROUP + 1) if size % g == 0)
        require(size % group == 0, f"groups of {group} bits do not divide a code of {size} bits")
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


class ResidualHead(ChoiceHead):
    """The codes of all levels of a position, independent of each other given the features (MusicGen, Copet et al. 2023,
    section 2.3). What is predicted together is up to the paradigm, which may delay deeper levels, hide them, or bring
    features of its own to each.

    Args:
        spec: of the tokens.
        dim: width of the backbone.
    """

    def __init__(self, spec: TokenSpec, dim: int) -> None:
        require(spec.kind == "residual", f"ResidualHead is for residual tokens, and these are {spec.kind}")
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
