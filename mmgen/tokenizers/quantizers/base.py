"""What every quantizer shares: the result, the checks, float32 inside, and the sums over ranks."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import Kind


class NotFinite(UserError):
    """Vectors that hold NaN or infinity, and so have no code."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of quantizing z (..., dim).

    Args:
        values: (..., dim) in z's dtype: exactly the codes, with a straight-through gradient to z.
        indices: (...) int64; (..., levels) of a residual quantizer; (..., dim) float of a continuous one.
        losses: named scalars, already weighted: their sum is the quantizer's loss. Empty where it has none.
    """

    values: Tensor
    indices: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)


class Quantizer(nn.Module, ABC):
    """Maps vectors to integers and back, or to the numbers of a continuous token.

    Works in at least float32, and keeps its state in it, whatever autocast, `.half()` and `.bfloat16()` say. Only
    `forward` in training mode changes state or talks to other ranks, by the same collective calls whatever the data;
    `encode` and `lookup` are local and deterministic. Randomness is keyed by a count of batches in the state.

    `TokenSpec(quantizer.kind, quantizer.size, grid, levels=quantizer.levels)` describes the tokens.
    """

    dim: int  # length of the vectors that come out
    kind: Kind  # as in TokenSpec
    size: int  # vocabulary size, number of bits, vocabulary size of each level, or `dim`, by kind
    levels: int = 1  # codes a vector: the last axis of a residual quantizer's indices, which others do not have

    @property
    def inputs(self) -> int:
        """Length of the vectors that go in: `dim`, except where those describe a distribution of it."""
        return self.dim

    @abstractmethod
    def quantize(self, z: Tensor) -> Quantized:
        """z (..., inputs) finite, at least float32. The body of `forward`."""

    @abstractmethod
    def encode(self, z: Tensor) -> Tensor:
        """z (..., inputs) -> indices as `forward` gives them, without losses or any change of state."""

    @abstractmethod
    def lookup(self, indices: Tensor) -> Tensor:
        """indices as `forward` gives them -> their codes (..., dim) float32. Raises UserError on one out of range."""

    def forward(self, z: Tensor) -> Quantized:
        """z (..., inputs), any float dtype. In training, values and losses of what is not finite are NaN and leave the
        state as it is, so that nothing is left of a step that is skipped. Raises UserError where z has another last
        axis, and NotFinite in evaluation mode.
        """
        if self.training and not _is_finite(z):
            return self._spoilt(z)
        with torch.autocast(z.device.type, enabled=False):
            quantized = self.quantize(self._as_vectors(z) if self.training else self.check_vectors(z))
        return Quantized(quantized.values.to(z.dtype), quantized.indices, quantized.losses)

    def _spoilt(self, z: Tensor) -> Quantized:
        """NaN for z, by way of it, so that its gradient is NaN too. Ranks whose z is finite make the same calls."""
        before = [each.clone() for each in self.buffers()]
        quantized = self.forward(torch.zeros_like(z))
        with torch.no_grad():
            for buffer, value in zip(self.buffers(), before, strict=True):
                buffer.copy_(value)
        nan = z.sum() * torch.nan
        losses = {name: each + nan for name, each in quantized.losses.items()}
        return Quantized(quantized.values + nan, quantized.indices, losses)

    def check_vectors(self, z: Tensor) -> Tensor:
        """z in at least float32, if it is fit to be quantized."""
        vectors = self._as_vectors(z)
        if not _is_finite(z):
            raise NotFinite(
                f"{type(self).__name__} got NaN or infinity: the encoder has diverged, lower lr or clip its gradient"
            )
        return vectors

    def _as_vectors(self, z: Tensor) -> Tensor:
        if z.shape[-1] != self.inputs:
            name, shape = type(self).__name__, tuple(z.shape)
            raise UserError(f"{name} quantizes vectors of {self.inputs} numbers, got shape {shape}")
        return z.to(torch.promote_types(z.dtype, torch.float32))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def at_least_float32(x: Tensor) -> Tensor:
            moved = fn(x)
            return x.to(moved.device) if moved.is_floating_point() and moved.dtype.itemsize < 4 else moved

        return super()._apply(at_least_float32, recurse)

    def check_indices(self, indices: Tensor, count: int) -> None:
        """Raises UserError unless indices are integers in [0, count)."""
        if indices.is_floating_point():
            raise UserError(f"{type(self).__name__} looks up integers, got {indices.dtype}")
        if indices.numel() and (indices.min() < 0 or indices.max() >= count):
            name, extremes = type(self).__name__, f"{indices.min().item()} to {indices.max().item()}"
            raise UserError(f"{name} has codes 0 to {count - 1}, got {extremes}; is a mask token among them?")


def _is_finite(z: Tensor) -> bool:
    """Whether all of it is. A sum is quick and shows it, and may be too large by itself."""
    return bool(z.detach().sum().isfinite()) or bool(z.isfinite().all())


def straight_through(z: Tensor, codes: Tensor) -> Tensor:
    """Exactly `codes`, bit for bit, with gradient 1 to z (Bengio et al. 2013). `z + (codes - z)` would round."""
    return _StraightThrough.apply(z, codes.detach())


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, codes: Tensor) -> Tensor:
        return codes.view_as(codes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def world() -> tuple[int, int]:
    """(rank, number of ranks) of the default process group; (0, 1) without one."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of a detached tensor over all ranks; x itself on one rank. A collective call."""
    if world()[1] > 1:
        x = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
    return x


def place_among_ranks(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(items on the ranks before this one, items on all ranks) where this rank has `count`. A collective call."""
    rank, ranks = world()
    counts = torch.zeros(ranks, dtype=torch.int64, device=device)
    counts[rank] = count
    counts = sum_over_ranks(counts)
    return counts[:rank].sum(), counts.sum()


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean over ranks (equal batches), with the gradient that the local share alone would have. A collective call.

    Data-parallel training averages gradients over ranks afterwards: together that is the gradient of the global mean.
    """
    return x if world()[1] == 1 else x + (sum_over_ranks(x) / world()[1] - x).detach()
