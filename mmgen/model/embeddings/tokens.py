"""The input end of a generator: one class a token kind, each the owner of its mask token."""

import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.tokens import TokenSpec, unpack_bits


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
        """values (B, N) int64 in [0, size), hidden (B, N) or (B, N, 1) bool, without influence -> (B, N, dim)."""
        x = self.table(values)
        if hidden is not None and hidden.dim() == 2:
            hidden = hidden[..., None]
        return x if hidden is None else torch.where(hidden, self.mask.to(x.dtype), x)

    def expected(self, probs: Tensor) -> Tensor:
        """The mean embedding under probabilities (B, N, 1, choices) -> (B, N, dim)."""
        return probs[..., 0, :].to(self.table.weight.dtype) @ self.table.weight


class BitsEmbedding(nn.Module):
    """A linear map of the signs of binary codes, with a learned mask token for hidden positions (BSQ-ViT, Zhao et al.
    2024): O(bits) parameters for a vocabulary of 2^bits. In a position that is hidden in part, each hidden bit gives a
    vector of its own in place of its sign.

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
        """values (B, N) int64 in [0, 2^bits), hidden (B, N) or (B, N, groups) bool without influence -> (B, N, dim)."""
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
        """values (B, N, levels) int64, hidden (B, N) or (B, N, levels) bool, without influence -> (B, N, dim)."""
        if hidden is not None:
            values = torch.where(hidden if hidden.dim() == 3 else hidden[..., None], self.size, values)
        first = torch.arange(self.levels, device=values.device) * (self.size + 1)
        return self.table(values + first).sum(-2)

    def level(self, codes: Tensor, level: int) -> Tensor:
        """The vectors of codes (B, N) int64 of one level -> (B, N, dim); `size` stands for a hidden one."""
        return self.table(codes + level * (self.size + 1))

    def expected(self, probs: Tensor) -> Tensor:
        """The mean embedding under probabilities (B, N, levels, choices) -> (B, N, dim); END has no embedding."""
        codes = rearrange(self.table.weight, "(q v) d -> q v d", q=self.levels)[:, : self.size]
        return torch.einsum("bnqv,qvd->bnd", probs[..., : self.size].to(codes.dtype), codes)


Embedding = CategoricalEmbedding | BitsEmbedding | ContinuousEmbedding | ResidualEmbedding


def embedding_for(spec: TokenSpec, dim: int) -> Embedding:
    """The embedding of a token kind."""
    if spec.kind == "residual":
        return ResidualEmbedding(spec.size, dim, spec.levels)
    if spec.kind == "categorical":
        return CategoricalEmbedding(spec.size, dim)
    return BitsEmbedding(spec.size, dim) if spec.kind == "bits" else ContinuousEmbedding(spec.size, dim)
