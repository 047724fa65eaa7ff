"""Embedding of residual tokens: a code from each of several codebooks."""

import torch
from einops import rearrange
from torch import Tensor, nn


class ResidualEmbedding(nn.Module):
    """The sum over levels of a vector for each code (VALL-E, Wang et al. 2023; MusicGen, Copet et al. 2023). A hidden
    level, one that is not known or not there, gives its own mask vector.

    Args:
        size: codes a level.
        dim: width of the backbone.
        levels: codebooks a position.
    """

    def __init__(self, size: int, dim: int, levels: int) -> None:
        super().__init__()
        self.size, self.levels = size, levels
        self.table = nn.Embedding(levels * (size + 1), dim)
        nn.init.normal_(self.table.weight, std=0.5 / levels**0.5)

    def forward(self, values: Tensor, hidden: Tensor | None = None) -> Tensor:
        """values (B, N, levels) int64, hidden (B, N) or (B, N, levels) bool -> (B, N, dim). A hidden code's value has
        no influence.
        """
        if hidden is not None:
            values = torch.where(hidden if hidden.dim() == 3 else hidden[..., None], self.size, values)
        first = torch.arange(self.levels, device=values.device) * (self.size + 1)
        return self.table(values + first).sum(-2)

    def level(self, codes: Tensor, level: int) -> Tensor:
        """The vectors of codes (B, N) int64 of one level -> (B, N, dim); `size` stands for a hidden one."""
        return self.table(codes + level * (self.size + 1))

    def expected(self, probs: Tensor) -> Tensor:
        """The mean embedding under probabilities (B, N, levels, choices) -> (B, N, dim); END, where it is a choice
        behind the codes, counts nothing.
        """
        codes = rearrange(self.table.weight, "(q v) d -> q v d", q=self.levels)[:, : self.size]
        return torch.einsum("bnqv,qvd->bnd", probs[..., : self.size].to(codes.dtype), codes)
