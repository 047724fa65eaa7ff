"""Vector quantization with a codebook that follows the encoder by moving averages."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers.base import Quantized, Quantizer, place_among_ranks, straight_through, sum_over_ranks

_SCORES_AT_ONCE = 2**26  # distances held in memory at a time


class VQ(Quantizer):
    """Nearest code of a learned codebook (van den Oord et al. 2017, appendix A.1: EMA updates, no codebook gradient).

    A code whose usage falls below `dead_below` of an even share is dead, and moves to a vector of the current batch
    (the random restarts of Dhariwal et al. 2020). At first all codes are dead: the first batch fills the codebook.
    Which vectors are taken is keyed by the step, and all sums run over all ranks: the codebook is the same on every
    rank, and what one process would learn from the whole batch, up to rounding.

    Loss `commitment`: `commitment` x mean squared distance to the code, per number. In [0, 4 commitment / dim] if
    cosine, else without upper bound. Rises at first, then falls slowly to a plateau. Growth without end means that the
    encoder runs away from the codebook: raise `commitment`, or use `cosine`.

    Args:
        codes: size of the codebook.
        dim: length of the vectors; 4 to 16 keeps the codebook in use (Yu et al. 2022, factorised codes).
        cosine: compare directions only: inputs and codes are scaled to length 1 (Yu et al. 2022).
        decay: of the moving averages, per batch; 1 / (1 - decay) batches is their memory.
        commitment: weight of the commitment loss.
        dead_below: share of the even usage (vectors in the batch / codes) under which a code is dead; 0 never revives.
        smoothing: Laplace smoothing of the usage, in vectors a code.
    """

    kind = "categorical"
    offset = 0.0  # of its draws in [0, 1): the levels of a residual quantizer must not pick the same vectors

    def __init__(
        self,
        codes: int,
        dim: int = 8,
        cosine: bool = False,
        decay: float = 0.99,
        commitment: float = 0.25,
        dead_below: float = 0.1,
        smoothing: float = 1e-5,
    ) -> None:
        super().__init__()
        if codes < 2 or dim < 1 or not 0 <= decay < 1 or commitment < 0 or not 0 <= dead_below < 1:
            limits = "codes >= 2, dim >= 1, 0 <= decay < 1, commitment >= 0, 0 <= dead_below < 1"
            raise UserError(f"VQ needs {limits}; got {codes}, {dim}, {decay}, {commitment}, {dead_below}")
        self.dim, self.size, self.cosine = dim, codes, cosine
        self.decay, self.commitment, self.dead_below, self.smoothing = decay, commitment, dead_below, smoothing
        self.codebook: Tensor
        self.usage: Tensor
        self.sums: Tensor
        self.batches: Tensor
        self.register_buffer("codebook", torch.zeros(codes, dim))
        self.register_buffer("usage", torch.zeros(codes))  # moving average of the vectors a batch gives each code
        self.register_buffer("sums", torch.zeros(codes, dim))  # moving average of the sum of those vectors
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))  # seen in training; keys the draws

    def quantize(self, z: Tensor) -> Quantized:
        flat = self._flat(z)
        if self.training:
            self.revive(flat.detach())
        else:
            self.require_codebook()
        indices = self.nearest(flat)
        codes = self.codebook[indices]
        commitment = self.commitment * F.mse_loss(flat, codes)
        if self.training:
            self.follow(flat.detach(), indices)
        values = straight_through(flat, codes).view(z.shape)
        return Quantized(values, indices.view(z.shape[:-1]), {"commitment": commitment})

    def encode(self, z: Tensor) -> Tensor:
        self.require_codebook()
        with torch.autocast(z.device.type, enabled=False):
            return self.nearest(self._flat(self.check_vectors(z))).view(z.shape[:-1])

    def lookup(self, indices: Tensor) -> Tensor:
        self.require_codebook()
        self.check_indices(indices, self.size)
        return self.codebook[indices]

    def _flat(self, z: Tensor) -> Tensor:
        flat = rearrange(z, "... dim -> (...) dim").to(self.codebook.dtype)
        return F.normalize(flat, dim=-1) if self.cosine else flat

    def require_codebook(self) -> None:
        """Raises UserError before the first batch."""
        if not self.batches:
            raise UserError("the VQ codebook is empty: train the tokenizer, or load a checkpoint, before using it")

    def nearest(self, flat: Tensor, codes: int | None = None) -> Tensor:
        """(n, dim) -> (n,) among the first `codes` codes, or all. The first one wins a tie."""
        book = self.codebook[:codes]
        half_norms = book.square().sum(-1) / 2
        parts = flat.detach().split(max(1, _SCORES_AT_ONCE // len(book)))
        # The least |z - c|^2 has the greatest z.c - |c|^2 / 2.
        return torch.cat([torch.addmm(-half_norms, part, book.T).argmax(-1) for part in parts])

    @torch.no_grad()
    def revive(self, flat: Tensor) -> None:
        """Move dead codes to vectors of the global batch (n, dim): a collective call, without a branch on the data."""
        vectors, share = self.candidates(flat, self.offset)
        self.replace((self.usage < self.dead_below * share) | (self.batches == 0), vectors, share)

    @torch.no_grad()
    def candidates(self, flat: Tensor, offset: float) -> tuple[Tensor, Tensor]:
        """A vector of the global batch for every code (size, dim), one from each of `size` equal stretches of it, from
        another place for another offset; and an even share of the batch. A collective call.
        """
        start, total = place_among_ranks(len(flat), flat.device)
        draws = Draws(0, torch.arange(self.size, device=flat.device), self.batches)
        stretch = draws.uniform("stretch").argsort()
        place = (draws.uniform("place") + offset) % 1
        picks = ((stretch + place) * total / self.size).long().clamp_max(total - 1)
        mine = (picks >= start) & (picks < start + len(flat))
        local = (picks - start).clamp(0, len(flat) - 1)
        return sum_over_ranks(torch.where(mine[:, None], flat[local], 0.0)), total / self.size

    def replace(self, dead: Tensor, vectors: Tensor, usage: Tensor) -> None:
        """Put vectors (size, dim) in the place of dead codes (size,) bool, each as if it had had `usage` vectors."""
        self.codebook.copy_(torch.where(dead[:, None], vectors, self.codebook))
        self.usage.copy_(torch.where(dead, usage, self.usage))
        self.sums.copy_(torch.where(dead[:, None], vectors * usage, self.sums))

    @torch.no_grad()
    def follow(self, flat: Tensor, indices: Tensor) -> None:
        """Move each code towards the mean of the vectors (n, dim) that chose it (n,), over all ranks: a collective
        call. Ends the batch.
        """
        with_ones = torch.cat([flat, flat.new_ones(len(flat), 1)], dim=-1)
        totals = sum_over_ranks(flat.new_zeros(self.size, self.dim + 1).index_add_(0, indices, with_ones))
        self.sums.lerp_(totals[:, :-1], 1 - self.decay)
        self.usage.lerp_(totals[:, -1], 1 - self.decay)
        everything = self.usage.sum()
        smoothed = (self.usage + self.smoothing) / (everything + self.size * self.smoothing) * everything
        means = self.sums / smoothed[:, None]
        self.codebook.copy_(F.normalize(means, dim=-1) if self.cosine else means)
        self.batches += 1
