"""The interface of a paradigm: how tokens are corrupted for training, what the loss is, and how they are sampled."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.conditioning import Condition
from mmgen.draws import Draws
from mmgen.errors import UserError
from mmgen.generator import Generator
from mmgen.heads import discrete
from mmgen.layout import Layout, grid_layout, prefix
from mmgen.mask import Mask
from mmgen.masks import get_mask
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.guidance import Guidance
from mmgen.remember import remember
from mmgen.tokens import Grid, Tokens


@dataclass(frozen=True, eq=False)
class Corrupted:
    """One training row a sample. Targets belong to the last K positions of the row.

    Attributes:
        values: (B, M) tokens in the row, behind the prefix; (B, M, C) continuous ones.
        hidden: (B, M) bool, replaced by the mask token; None for none.
        layout: the P + M positions.
        mask: who may see whom.
        targets: (B, K) tokens to be predicted, or (B, K, C) vectors.
        weights: (B, K) float, 0 where nothing is predicted; a row's weights sum to 1, in expectation.
        levels: (B, M) noise levels in [0, 1]; None for none.
    """

    values: Tensor
    hidden: Tensor | None
    layout: Layout
    mask: Mask
    targets: Tensor
    weights: Tensor
    levels: Tensor | None = None


@dataclass(frozen=True)
class SampleOptions:
    """What a person chooses when sampling.

    Args:
        steps: steps a row (masked, diffusion) or a block (block); the paradigm's default where None. Autoregressive
            needs none.
        guidance: strength and schedule.
        decoding: temperature, order and number of tokens a step.
    """

    steps: int | None = None
    guidance: Guidance = field(default_factory=Guidance)
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise UserError(f"steps {self.steps} must be at least 1")


@dataclass(frozen=True, eq=False)
class Request:
    """Which samples are wanted.

    Attributes:
        labels: (B,) int64 classes; -1 for none.
        draws: one stream of random numbers a sample.
        lengths: (B,) int64 positions a row, where rows are shorter than the grid.
        known: (B, N) tokens at the positions that `keep` fixes.
        keep: (B, N) bool, positions that are given (infilling); None for none.
    """

    labels: Tensor
    draws: Draws
    lengths: Tensor | None = None
    known: Tensor | None = None
    keep: Tensor | None = None


@dataclass(frozen=True, eq=False)
class State:
    """A sampler's progress.

    Attributes:
        tokens: (B, N), or (B, N, C) continuous ones; meaningful where committed.
        committed: (B, N) bool: positions that will not change any more, padding included.
        step: steps done, 0 in the first state.
        block: the autoregressive unit being worked on.
        forward_passes: calls of the backbone so far.
        drafted: (B, N) bool: positions whose token may still change and is worth looking at; None for none.
    """

    tokens: Tensor
    committed: Tensor
    step: int
    block: int
    forward_passes: int
    drafted: Tensor | None = None

    @property
    def shown(self) -> Tensor:
        """(B, N) bool: positions that a preview shows."""
        return self.committed if self.drafted is None else self.committed | self.drafted


class Paradigm(ABC):
    """A way of generating: training and sampling in one place.

    Args:
        mask: catalogue name of the mask it trains and samples under.
    """

    mode: str
    """The name under which a checkpoint offers this paradigm."""

    likelihood: Literal["exact", "bound"] | None = None
    """What `bound` is: the negative log-likelihood itself, an upper bound on it, or nothing."""

    def __init__(self, mask: str) -> None:
        self.mask = get_mask(mask)

    def modes(self) -> dict[str, "Paradigm"]:
        """Name -> paradigm for everything that a checkpoint trained so can be sampled with."""
        return {self.mode: self}

    @abstractmethod
    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The training row of each sample, a pure function of the tokens and their draws."""

    @abstractmethod
    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """States of the sampler, from the empty one on; in the last one everything is committed. Run it without
        gradients and in evaluation mode.
        """

    def bound(self, generator: Generator, tokens: Tokens, labels: Tensor, draws: Draws) -> Tensor:
        """The negative log-likelihood, or an unbiased estimate of an upper bound on it, (B,) float64 in nats per token.

        Raises:
            UserError: this paradigm has none.
        """
        if self.likelihood is None:
            raise UserError(f"mode {self.mode!r} of {type(self).__name__} has no likelihood")
        (losses,) = self.losses(generator, tokens, labels, draws).values()
        return losses.double()

    def losses(self, generator: Generator, tokens: Tokens, labels: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Per-sample losses (b,) in nats per token, by mode; their mean over all samples is the training loss."""
        condition = generator.conditioning(labels)
        return {self.mode: self.loss(generator, self.corrupt(tokens, generator, draws), condition)}

    def loss(self, generator: Generator, row: Corrupted, condition: Condition) -> Tensor:
        """Weighted cross-entropy (B,) in nats per token."""
        head, outputs = discrete(generator.head, type(self).__name__), row.targets.shape[1]
        features = generator(
            row.values, row.layout, row.mask, condition, row.hidden, outputs=outputs, levels=row.levels
        )
        nats = head.nats(features, row.targets)
        return (row.weights.to(nats.dtype) * nats).sum(1)


@remember(256)
def row_layout(prefix_length: int, grid: Grid, device: torch.device) -> Layout:
    """The prefix and one clean copy of a grid, found again for each shape and device."""
    return (prefix(prefix_length) + grid_layout(grid)).to(device)


def real_positions(values: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, N) bool, False for padding: values (B, N) or (B, N, C), lengths (B,) or None for none."""
    batch, length = values.shape[:2]
    if lengths is None:
        return torch.ones(batch, length, dtype=torch.bool, device=values.device)
    return torch.arange(length, device=values.device) < lengths[:, None]


class Canvas:
    """The tokens of a batch while they are sampled: known ones filled in, padding committed, the longest row setting
    the length.

    Args:
        generator: whose tokens they are.
        request: which samples are wanted.
        order: (N,) int64, the order that the sampler works in, as indices of raster positions; raster order by default.
            All attributes are in this order, and states are in raster order.
    """

    def __init__(self, generator: Generator, request: Request, order: Tensor | None = None) -> None:
        self.full, self.order = generator.spec.length, order
        batch, device = len(request.labels), request.labels.device
        self.lengths = request.lengths
        self.length = self.full if request.lengths is None else int(request.lengths.max())
        if not 1 <= self.length <= self.full:
            raise UserError(f"lengths must lie between 1 and the {self.full} positions of the grid, got {self.length}")
        if order is not None and request.lengths is not None:
            raise UserError("rows of different lengths are generated in raster order only, not in tiles")
        vector = generator.spec.kind == "continuous"
        dtype = next(generator.parameters()).dtype if vector else torch.int64
        shape = (generator.spec.size,) if vector else ()
        self.tokens = torch.zeros(batch, self.length, *shape, dtype=dtype, device=device)
        self.real = real_positions(self.tokens, request.lengths)
        self.committed = torch.zeros_like(self.real)
        if request.keep is not None:
            if (
                request.known is None
                or request.known.shape != (batch, self.full, *shape)
                or request.keep.shape != (batch, self.full)
            ):
                raise UserError(f"keep and known must both be given, each of shape ({batch}, {self.full})")
            keep, known = self._ordered(request.keep), self._ordered(request.known)
            self.committed = keep[:, : self.length].clone()
            self.tokens = where(self.committed, known[:, : self.length].to(dtype), self.tokens)
        self.committed |= ~self.real

    def _ordered(self, x: Tensor) -> Tensor:
        return x if self.order is None else x[:, self.order]

    def progress(self) -> Tensor:
        """(B,) committed share of each row's real positions."""
        return (self.committed & self.real).sum(1).double() / self.real.sum(1)

    def require_reachable(self, unit: Tensor, mode: str) -> None:
        """Refuse kept positions that what is generated before them could not see.

        Args:
            unit: (N,) autoregressive unit of each position, ascending.
            mode: named in the error.
        """
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
            return x if self.order is None else x[:, self.order.argsort()]

        seen = None if drafted is None else whole(drafted)
        return State(whole(self.tokens), whole(self.committed, True), step, block, forward_passes, seen)


def where(condition: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Tokens of one kind or the other by position: condition (B, N) bool, tokens (B, N) or (B, N, C)."""
    return torch.where(condition if chosen.dim() == 2 else condition[..., None], chosen, other)
