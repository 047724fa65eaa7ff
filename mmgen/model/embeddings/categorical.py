"""Embedding of tokens from one codebook."""

import torch
from torch import Tensor, nn


class CategoricalEmbedding(nn.Module):
    """A table lookup, with a learned mask token for hidden positions.

    Args:
        size: vocabulary size.
        dim: width of the backbone.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(size, dim)
        self.mask = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.table.weight, std=0.5)
        nn.init.normal_(self.mask, std=0.5)

    def forward(self, values: Tensor, hidden: Tensor | None = None) -> Tensor:
        """values (B, N) int64 in [0, size), hidden (B, N) or (B, N, 1) bool -> (B, N, dim). A hidden position's value
        has no influence.
        """
        x = self.table(values)
        if hidden is not None and hidden.dim() == 2:
            hidden = hidden[..., None]
        return x if hidden is None else torch.where(hidden, self.mask.to(x.dtype), x)

    def expected(self, probs: Tensor) -> Tensor:
        """The mean embedding under probs (B, N, 1, size) -> (B, N, dim)."""
        return probs[..., 0, :].to(self.table.weight.dtype) @ self.table.weight
