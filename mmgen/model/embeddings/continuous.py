"""Embedding of continuous tokens."""

import torch
from torch import Tensor, nn


class ContinuousEmbedding(nn.Module):
    """A linear map of the vector, with a learned mask token for hidden positions (ACDiT, Hu et al. 2024; MAR, Li et al.
    2024).

    Args:
        size: channels a token, each of about unit variance.
        dim: width of the backbone.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, dim, bias=False)
        self.mask = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.project.weight, std=0.5 / size**0.5)
        nn.init.normal_(self.mask, std=0.5)

    def forward(self, values: Tensor, hidden: Tensor | None = None) -> Tensor:
        """values (B, N, size) float, hidden (B, N) bool -> (B, N, dim). A hidden position's value has no influence."""
        x = self.project(values.to(self.project.weight.dtype))
        return x if hidden is None else torch.where(hidden[..., None], self.mask.to(x.dtype), x)
