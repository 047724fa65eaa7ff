"""The canvas of a sampler: the tokens of a batch while they are generated."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.core.tokens import take_positions
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Request, State


def real_positions(values: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, N) bool, False for padding: values (B, N) or (B, N, C), lengths (B,) or None for none."""
    batch, length = values.shape[:2]
    if lengths is None:
        return torch.ones(batch, length, dtype=torch.bool, device=values.device)
    return torch.arange(length, device=values.device) < lengths[:, None]


class Canvas:
    """The tokens of a batch while they are sampled: known ones filled in, padding committed, as long as the longest
    row.

    Args:
        generator: whose tokens they are.
        request: which samples are wanted.
        order: (N,) or (B, N) int64, the order that the sampler works in, as indices of raster positions; raster order
            by default. All attributes are in this order, and states are in raster order.
    """

    def __init__(self, generator: Generator, request: Request, order: Tensor | None = None) -> None:
        self.full, self.order = math.prod(request.whole(generator)), order
        batch, device = request.rows, request.device
        self.lengths = request.lengths
        self.length = self.full if request.lengths is None else int(request.lengths.max())
        outside = f"lengths must lie between 1 and the {self.full} positions of the grid, got {self.length}"
        require(1 <= self.length <= self.full, outside)
        ordered = "rows of different lengths are in raster order only: split them into runs or frames"
        require(order is None or request.lengths is None, ordered)
        spec = generator.spec
        dtype = next(generator.parameters()).dtype if spec.kind == "continuous" else torch.int64
        shape = {"continuous": (spec.size,), "residual": (spec.levels,)}.get(spec.kind, ())
        self.tokens = torch.zeros(batch, self.length, *shape, dtype=dtype, device=device)
        self.real = real_positions(self.tokens, request.lengths)
        self.committed = torch.zeros_like(self.real)
        if request.keep is not None:
            both = f"keep and known must both be given, each of shape ({batch}, {self.full})"
            require(request.keep.shape == (batch, self.full), both)
            if request.known is None or request.known.shape != (batch, self.full, *shape):
                raise UserError(both)
            keep, known = self._ordered(request.keep), self._ordered(request.known)
            self.committed = keep[:, : self.length].clone()
            self.tokens = where(self.committed, known[:, : self.length].to(dtype), self.tokens)
        self.committed |= ~self.real

    def _ordered(self, x: Tensor) -> Tensor:
        return x if self.order is None else take_positions(x, self.order)

    def progress(self) -> Tensor:
        """(B,) committed share of each row's real positions."""
        return (self.committed & self.real).sum(1).double() / self.real.sum(1)

    def require_reachable(self, unit: Tensor, mode: str) -> None:
        """Refuse kept positions that what is generated before them, by `unit` (N,) ascending, could not see."""
        first_open = torch.where(self.committed, unit.max() + 1, unit).amin(1)
        stranded = self.real & self.committed & (unit > first_open[:, None])
        if bool(stranded.any()):
            row, position = (int(i) for i in stranded.nonzero()[0])
            raise UserError(
                f"mode {mode!r} generates in order and cannot see the kept position {position} of row {row} before it"
                " gets there; keep a beginning only, or sample with a mode that sees the whole row (masked)"
            )

    def state(self, step: int, block: int, forward_passes: int, drafted: Tensor | None = None) -> State:
        """A snapshot over the whole grid."""
        tail = self.full - self.length

        def whole(x: Tensor, value: bool = False) -> Tensor:
            x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, tail), value=value)
            return x if self.order is None else take_positions(x, self.order.argsort(-1))

        seen = None if drafted is None else whole(drafted)
        return State(whole(self.tokens), whole(self.committed, True), step, block, forward_passes, seen)


def where(condition: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Tokens of one kind or the other by position: condition (B, N) bool, tokens (B, N), (B, N, Q) or (B, N, C)."""
    return torch.where(condition if chosen.dim() == 2 else condition[..., None], chosen, other)
