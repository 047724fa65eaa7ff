"""A softmax over one codebook, and the interface that factorised heads share."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.model.heads.chunked import chunked_cross_entropy

MANY = 2**25  # logits of a batch, 128 MiB in float32 and thrice that in training, from which on they are made in parts


class CategoricalHead(nn.Module):
    """Logits of `groups` independent choices a token, here of one. Zero at initialisation: the loss starts at
    log(size) exactly.

    Args:
        size: vocabulary size.
        dim: width of the backbone.
    """

    def __init__(self, size: int, dim: int, groups: int = 1) -> None:
        super().__init__()
        self.groups, self.choices = groups, size
        self.project = nn.Linear(dim, groups * size)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def logits(self, features: Tensor) -> Tensor:
        """features (..., dim) -> (..., groups, choices)."""
        return rearrange(self.project(features), "... (g v) -> ... g v", g=self.groups)

    def predict(self, features: Tensor) -> Tensor:
        """What guidance and samplers work on: the logits."""
        return self.logits(features)

    def split(self, values: Tensor) -> Tensor:
        """Tokens (...,) int64 -> the choice in each group (..., groups)."""
        return values[..., None]

    def join(self, choices: Tensor) -> Tensor:
        """Inverse of `split`."""
        return choices[..., 0]

    def nats(self, features: Tensor, targets: Tensor) -> Tensor:
        """-log p(target), in nats: features (..., dim), targets (...,) int64 -> (...,). In float32 or wider."""
        return self.nats_by_group(features, targets).sum(-1)

    def nats_by_group(self, features: Tensor, targets: Tensor) -> Tensor:
        """The same of each choice, (..., groups)."""
        choices = self.split(targets)
        if choices.numel() * self.choices >= MANY:
            flat, wanted = features.flatten(0, -2), choices.flatten(0, -2)
            return chunked_cross_entropy(flat, self.project.weight, self.project.bias, wanted).view(choices.shape)
        logits = self.logits(features)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        each = F.cross_entropy(logits.flatten(0, -2), choices.flatten(), reduction="none")
        return each.view(choices.shape)
