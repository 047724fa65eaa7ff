"""Embedding of binary codes, without a table: O(bits) parameters for a vocabulary of 2^bits."""

import torch
from torch import Tensor, nn

from mmgen.core.tokens import unpack_bits


class BitsEmbedding(nn.Module):
    """A linear map of the signs, with a learned mask token for hidden positions (BSQ-ViT, Zhao et al. 2024). In a
    position that is hidden in part, each hidden bit gives a vector of its own in place of its sign.

    Args:
        size: number of bits a token.
        dim: width of the backbone.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.bits = size
        self.project = nn.Linear(size, dim)
        self.mask = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.project.weight, std=0.5 / size**0.5)
        nn.init.zeros_(self.project.bias)
        nn.init.normal_(self.mask, std=0.5)
        self.hidden_bit = nn.Parameter(torch.zeros(size, dim))

    def forward(self, values: Tensor, hidden: Tensor | None = None) -> Tensor:
        """values (B, N) int64 in [0, 2^bits), hidden (B, N) or, by group of bits, (B, N, groups) bool -> (B, N, dim).
        The values of hidden bits have no influence.
        """
        signs = 2 * unpack_bits(values, self.bits).to(self.project.weight.dtype) - 1
        if hidden is None or hidden.dim() == 2:
            x = self.project(signs)
        else:
            bits = hidden.repeat_interleave(self.bits // hidden.shape[-1], -1)
            x = self.project(torch.where(bits, 0.0, signs))
            x, hidden = x + bits.to(x.dtype) @ self.hidden_bit.to(x.dtype), hidden.all(-1)
        return x if hidden is None else torch.where(hidden[..., None], self.mask.to(x.dtype), x)

    def expected(self, probs: Tensor) -> Tensor:
        """The mean embedding under probs (B, N, groups, 2^(size / groups)) of groups of bits -> (B, N, dim)."""
        bits = self.bits // probs.shape[-2]
        signs = 2 * unpack_bits(torch.arange(2**bits, device=probs.device), bits).to(self.project.weight.dtype) - 1
        return self.project((probs.to(signs.dtype) @ signs).flatten(-2))
