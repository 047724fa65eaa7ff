"""Residual vector quantization: each level quantizes what the levels before it have left over."""

from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers.base import Quantized, Quantizer, place_among_ranks, straight_through
from mmgen.tokenizers.quantizers.vq import VQ


class ResidualVQ(Quantizer):
    """Sum of a code from each of `levels` codebooks, chosen greedily (SoundStream, Zeghidour et al. 2021, algorithm 1).

    Level q quantizes the residual, z minus the codes of the levels before, with a `VQ` of its own or one that all
    share; their codes follow the residuals by moving averages and are revived as `VQ` says. Residuals subtract codes
    without a gradient, and the straight-through gradient is taken once, from the sum of codes to z (EnCodec, Defossez
    et al. 2022). `lookup` takes the first q levels of any indices, and gives a coarser vector.

    `dropout` lets the decoder see the first n levels only, n even over 1 to `levels`, drawn for every sample, which is
    a row of z's first axis (SoundStream; with the probability of DAC, Kumar et al. 2023). It changes `values` in
    training and nothing else. (DAC leaves the losses of dropped levels out.) Draws are keyed by the count of batches
    and the sample's place in the global batch.

    A shared codebook counts one batch as the vectors that all its levels see, and is held fixed while a batch is
    quantized. At the first batch every level fills an equal part of it.

    Losses `commitment_q` for q = 1 to `levels`: `commitment` x mean squared distance of level q's residual to its code,
    per number: just the error of the first q levels. In [0, inf); the first goes as VQ's does. A level whose loss is no
    smaller than the one before is dead weight. Growth without end means that the encoder runs away: raise `commitment`.

    Args:
        codes: size of each codebook.
        dim: length of the vectors.
        levels: codes a vector; 1 is VQ.
        shared: one codebook for all levels.
        dropout: probability that a sample uses a random number of levels in training; 1 as in SoundStream, 0.5 in DAC.
        decay: of the moving averages, per batch; 1 / (1 - decay) batches is their memory.
        commitment: weight of the commitment loss of each level.
        dead_below: share of the even usage under which a code is dead; 0 never revives.
        smoothing: Laplace smoothing of the usage, in vectors a code.
    """

    kind = "residual"

    def __init__(
        self,
        codes: int,
        dim: int = 8,
        levels: int = 4,
        shared: bool = False,
        dropout: float = 0.0,
        decay: float = 0.99,
        commitment: float = 0.25,
        dead_below: float = 0.1,
        smoothing: float = 1e-5,
    ) -> None:
        super().__init__()
        if levels < 1 or not 0 <= dropout <= 1:
            raise UserError(f"ResidualVQ needs levels >= 1 and 0 <= dropout <= 1; got {levels}, {dropout}")
        if shared and codes < levels:
            raise UserError(f"ResidualVQ cannot share {codes} codes among {levels} levels: give it at least {levels}")
        self.dim, self.size, self.levels = dim, codes, levels
        self.shared, self.dropout, self.commitment = shared, dropout, commitment
        options = (codes, dim, False, decay, commitment, dead_below, smoothing)
        books = [VQ(*options) for _ in range(1 if shared else levels)]
        for level, book in enumerate(books):
            book.offset = level / levels
        self.books = nn.ModuleList(books)

    @property
    def by_level(self) -> list[VQ]:
        """The codebook of each level; if shared, the same one every time."""
        books = [cast(VQ, book) for book in self.books]
        return books * self.levels if self.shared else books

    def quantize(self, z: Tensor) -> Quantized:
        flat, levels_used = self._flat(z), self._levels_used(z)
        if not self.training:
            self.by_level[0].require_codebook()
        elif self.shared:
            self._fill(flat)
        residuals, choices, losses = [], [], {}
        total = values = torch.zeros_like(flat)
        for level, book in enumerate(self.by_level):
            residual = flat - total
            if self.training and not self.shared:
                book.revive(residual)
            choice = book.nearest(residual)
            codes = book.codebook[choice]
            losses[f"commitment_{level + 1}"] = self.commitment * F.mse_loss(residual, codes)
            total = total + codes
            values = values + torch.where(level < levels_used[:, None], codes, 0.0)
            residuals.append(residual)
            choices.append(choice)
        indices = torch.stack(choices, dim=-1)
        if self.training:
            self._learn(residuals, indices)
        return Quantized(straight_through(flat, values).view(z.shape), self._unflat(indices, z), losses)

    def encode(self, z: Tensor) -> Tensor:
        self.by_level[0].require_codebook()
        with torch.autocast(z.device.type, enabled=False):
            flat = self._flat(self.check_vectors(z))
            total, indices = torch.zeros_like(flat), []
            for book in self.by_level:
                indices.append(book.nearest(flat - total))
                total = total + book.codebook[indices[-1]]
        return self._unflat(torch.stack(indices, dim=-1), z)

    def lookup(self, indices: Tensor) -> Tensor:
        """indices (..., q) of the first q levels, 1 <= q <= levels -> the sum of their codes (..., dim) float32."""
        if not 1 <= (indices.shape[-1] if indices.dim() else 0) <= self.levels:
            shape = tuple(indices.shape)
            raise UserError(f"ResidualVQ looks up 1 to {self.levels} levels on the last axis, got shape {shape}")
        self.by_level[0].require_codebook()
        self.check_indices(indices, self.size)
        total = torch.zeros((), device=indices.device)
        for book, choice in zip(self.by_level, indices.unbind(-1), strict=False):
            total = total + book.codebook[choice]
        return total

    def _flat(self, z: Tensor) -> Tensor:
        return rearrange(z, "... dim -> (...) dim").to(self.by_level[0].codebook.dtype)

    def _unflat(self, indices: Tensor, z: Tensor) -> Tensor:
        return indices.view(*z.shape[:-1], self.levels)

    def _levels_used(self, z: Tensor) -> Tensor:
        """How many levels the decoder sees of each vector, the same within a sample: z (B, ..., dim) -> (n,) int64."""
        vectors = z.numel() // self.dim
        if not self.training or self.dropout == 0:
            return torch.full((vectors,), self.levels, device=z.device)
        samples = len(z) if z.dim() > 1 else 1
        start, _ = place_among_ranks(samples, z.device)
        draws = Draws(0, start + torch.arange(samples, device=z.device), self.by_level[0].batches)
        some = 1 + (draws.uniform("levels") * self.levels).long()
        levels_used = torch.where(draws.uniform("dropout") < self.dropout, some, self.levels)
        return levels_used.repeat_interleave(vectors // samples)

    @torch.no_grad()
    def _fill(self, flat: Tensor) -> None:
        """Fill a shared codebook at the first batch: an equal part of it from the residuals of each level."""
        book = self.by_level[0]
        if book.batches:
            return
        codes, residual = torch.arange(self.size, device=flat.device), flat
        for level in range(self.levels):
            first, end = level * self.size // self.levels, (level + 1) * self.size // self.levels
            vectors, share = book.candidates(residual, level / self.levels)
            book.replace((codes >= first) & (codes < end), vectors, share * self.levels)
            residual = residual - book.codebook[book.nearest(residual, end)]

    @torch.no_grad()
    def _learn(self, residuals: list[Tensor], indices: Tensor) -> None:
        """Codes follow the residuals (n, dim) of each level that chose them: indices (n, levels)."""
        if not self.shared:
            for book, residual, choice in zip(self.by_level, residuals, indices.unbind(-1), strict=True):
                book.follow(residual, choice)
            return
        # The levels of a vector stand together: ranks in a row then hold what one process would.
        pooled = rearrange(residuals, "levels n dim -> (n levels) dim")
        self.by_level[0].follow(pooled, indices.flatten())
        self.by_level[0].revive(pooled)
