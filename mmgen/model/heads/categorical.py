"""Softmaxes: one over one codebook, and what heads of several choices a token share."""

from typing import ClassVar

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.base import Head, Law, Sharpening
from mmgen.model.heads.chunked import chunked_cross_entropy
from mmgen.model.heads.drawing import distribution, draw
from mmgen.model.plain_module import is_plain

MANY = 2**25  # logits of a batch, 128 MiB in float32 and thrice that in training, from which on they are made in parts


class ChoiceHead(Head):
    """Logits of `groups` independent choices a token. Zero at initialisation: the loss starts at groups log(choices)
    exactly.

    Args:
        dim: width of the backbone.
        choices: of each group.
        groups: of a token.
    """

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
        if spec.kind != "categorical":
            raise UserError(f"CategoricalHead is for tokens of one codebook, and these are {spec.kind}")
        super().__init__(dim, spec.size, 1)
