"""The interface of a paradigm: how tokens are corrupted for training, what the loss is, and how they are sampled."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout, grid_layout
from mmgen.core.mask import Mask
from mmgen.core.masks import MaskName, get_mask
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import Grid, Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditioning
from mmgen.model.generator import Generator
from mmgen.model.heads import ChoiceHead, require_choices, require_law
from mmgen.paradigms.codes import Codes, Unit
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.guidance import Guidance, GuidedGenerator


@dataclass(frozen=True, eq=False)
class Corrupted:
    """One training row a sample. Targets belong to the last K positions of the row.

    Attributes:
        values: (B, M) tokens in the row, behind the prefix; (B, M, Q) residual or (B, M, C) continuous ones.
        hidden: (B, M) bool, replaced by the mask token, or (B, M, U) by unit (`Codes`); None for none.
        layout: the P + M positions.
        mask: who may see whom.
        targets: (B, K) tokens to be predicted, (B, K, Q) residual ones, or (B, K, C) vectors.
        weights: (B, K) float, 0 where nothing is predicted, or (B, K, U) by code; a row's weights sum to 1, in
            expectation (by code: to 1 for each that is predicted).
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
        context_noise: share of noise, 0 to 1, that a finished block gets when it enters the cache, so that small errors
            of it are not taken for details (CausNVS; diffusion forcing, Chen et al. 2024): the paradigm's own where
            None. For paradigms that go block by block.
        parallel_blocks: blocks that are made at the same time, from one after the other (1) to all of a clip: for
            blockwise paradigms that were trained on corrupted histories.
        fit: what fills a gap is as long as the gap; otherwise the model says where it ends, for paradigms that move
            spans to the end of a row.
        guidance: strength and schedule.
        decoding: temperature, order and number of tokens a step.
    """

    steps: int | None = None
    guidance: Guidance = field(default_factory=Guidance)
    decoding: Decoding = field(default_factory=Decoding)
    context_noise: float | None = None
    parallel_blocks: int = 1
    fit: bool = True

    def __post_init__(self) -> None:
        noise = self.context_noise
        require(self.steps is None or self.steps >= 1, f"steps {self.steps} must be at least 1")
        require(noise is None or 0 <= noise <= 1, f"context_noise {noise} must lie in [0, 1]")
        require(self.parallel_blocks >= 1, f"parallel_blocks {self.parallel_blocks} must be at least 1")

    def require_plain(self, mode: str) -> None:
        """Refuse what this mode ignores: rules of discrete diffusion, and options of blockwise paradigms."""
        self.decoding.require_supported(f"mode {mode!r}")
        self.require_no_context(mode)

    def require_no_context(self, mode: str) -> None:
        """Refuse the options of blockwise paradigms, which this mode ignores."""
        reason = f"context_noise does nothing in mode {mode!r}, which caches no finished block; leave it out"
        require(self.context_noise is None, reason)
        self.require_one_block(f"mode {mode!r} has no blocks")

    def require_one_block(self, reason: str) -> None:
        """Refuse several blocks at a time, for that reason."""
        blocks = f"parallel_blocks {self.parallel_blocks} is for blocks that were trained on corrupted histories"
        require(self.parallel_blocks == 1, f"{blocks}: {reason}")


ConditionValues = Tensor | Sequence[str] | Callable[[int], Tensor]  # what a request says of one condition


@dataclass(frozen=True, eq=False)
class Request:
    """Which samples are wanted.

    Attributes:
        draws: one stream of random numbers a sample; as many as there are samples.
        lengths: (B,) int64 positions a row, where rows are shorter than the grid.
        known: (B, N) tokens at the positions that `keep` fixes, (B, N, Q) residual or (B, N, C) continuous ones.
        keep: (B, N) bool, positions that are known (infilling); None for none.
        grid: (T, H, W) to be generated; the generator's own by default. More frames than in training are a rollout.
        conditions: by name the values (B, ...), or a name or text for each sample, or a function from the number of a
            frame to its values (B,), which is called just before that frame is generated by a paradigm that goes frame
            by frame, and for all frames at the beginning by others. Conditions that are not named are null.
    """

    draws: Draws
    lengths: Tensor | None = None
    known: Tensor | None = None
    keep: Tensor | None = None
    grid: Grid | None = None
    conditions: Mapping[str, ConditionValues] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many samples are wanted."""
        return len(self.draws.samples)

    @property
    def device(self) -> torch.device:
        """Where they are made."""
        return self.draws.samples.device

    def guided(
        self, generator: Generator, guidance: Guidance, capacity: int = 0, ahead: bool = True
    ) -> GuidedGenerator:
        """The generator, in evaluation mode, with these conditions.

        Args:
            generator: as it was trained.
            guidance: scale, schedule and what it drops.
            capacity: positions to cache, 0 for no cache.
            ahead: ask functions for the values of all frames; otherwise these are null until `GuidedGenerator.steer`.

        Raises:
            UserError: a condition that the generator does not take, or values that it does not know.
        """
        frames, steer = self.whole(generator)[0], {}
        generator.conditions.require(list(self.conditions))
        values: dict[str, Tensor] = {}
        for name, value in self.conditions.items():
            condition = generator.conditions[name]
            if callable(value):
                steer[name] = value
                null = condition.null(self.rows, frames).to(self.device)
                each = [condition.frame(value(frame), self.rows).to(null) for frame in range(frames if ahead else 0)]
                values[name] = torch.stack(each, dim=1) if each else null
            else:
                values[name] = (value if isinstance(value, Tensor) else condition.encode(value)).to(self.device)
            condition.check(values[name], self.rows, frames)
        filled = generator.conditions.fill(values, self.rows, frames)
        return GuidedGenerator(generator, filled, self.rows, guidance, capacity, {} if ahead else steer)

    def whole(self, generator: Generator) -> Grid:
        """The grid to be generated. Raises UserError where the generator cannot."""
        grid = generator.spec.grid if self.grid is None else self.grid
        generator.require_grid(grid)
        return grid


@dataclass(frozen=True, eq=False)
class State:
    """A sampler's progress.

    Attributes:
        tokens: (B, N), (B, N, Q) residual or (B, N, C) continuous ones; meaningful where committed.
        committed: (B, N) bool: positions that will not change any more, padding included.
        step: steps done, 0 in the first state.
        block: the autoregressive unit being worked on.
        forward_passes: calls of the backbone so far.
        drafted: (B, N) bool: positions whose token may still change and is worth looking at; None for none.
        lengths: (B,) int64 positions a row where rows end by themselves, all of them until they end; else None.
    """

    tokens: Tensor
    committed: Tensor
    step: int
    block: int
    forward_passes: int
    drafted: Tensor | None = None
    lengths: Tensor | None = None

    @property
    def filled(self) -> Tensor:
        """(B, N) bool: positions that hold a token, whether or not it may still change."""
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

    measured: Mapping[str, Any] = {}
    """Attributes with which the loss is the likelihood or its bound, whatever they are in training."""

    ends: bool = False
    """Whether rows end by themselves."""

    starts: bool = True
    """Whether the first token is predicted from a position before it, so that a row needs one."""

    predicts_visible: bool = False
    """Whether visible positions predict themselves too; hidden ones never see what they predict."""

    unit: Unit | None = None
    """What is hidden, replaced and revealed together, see `Codes`."""

    def __init__(self, mask: MaskName) -> None:
        self.mask = get_mask(mask)

    def modes(self) -> dict[str, "Paradigm"]:
        """Name -> paradigm for everything that a checkpoint trained so can be sampled with."""
        return {self.mode: self}

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """Modules that it brings along, by name. Raises UserError for tokens or a backbone that it cannot take."""
        return {}

    def require(self, generator: Generator) -> None:
        """Raises UserError where it cannot take these tokens with this head: called when a model is built."""
        self.choices(generator)

    def choices(self, generator: Generator) -> ChoiceHead:
        """The head of a generator, which must be of choices. Raises UserError otherwise."""
        return require_choices(generator.head, type(self).__name__)

    def codes(self, generator: Generator) -> Codes:
        """The codes of its tokens, in the paradigm's units. Raises UserError for tokens that have none."""
        return Codes(generator, self.unit, type(self).__name__)

    def part(self, generator: Generator, name: str) -> nn.Module:
        """One of its modules. Raises UserError for a generator that was made for another paradigm."""
        if name not in generator.parts:
            raise UserError(
                f"{type(self).__name__} needs its part {name!r}, and this generator was made without it: make it with"
                " parts=paradigm.parts(spec, backbone)"
            )
        return generator.parts[name]

    def marks(self, generator: Generator, row: Layout) -> Tensor | None:
        """What is added to the embedded tokens of a row, by its layout: (B or 1, M, dim)."""
        return None

    def modulation(self, generator: Generator, levels: Tensor | None) -> Tensor | None:
        """What modulates positions of these noise levels (B, M): (B, M, dim)."""
        return None if levels is None else self.part(generator, "noise_level")(levels)

    @abstractmethod
    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The training row of each sample, a pure function of the tokens and their draws."""

    @abstractmethod
    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """States of the sampler, without gradients, from the empty one on; in the last one everything is committed."""

    def bound(self, generator: Generator, tokens: Tokens, condition: Conditioning, draws: Draws) -> Tensor:
        """The negative log-likelihood, or an unbiased estimate of an upper bound on it, (B,) float64 in nats per token.

        Raises:
            UserError: this paradigm has none.
        """
        if self.likelihood is None:
            raise UserError(f"mode {self.mode!r} of {type(self).__name__} has no likelihood")
        measured = copy.copy(self)
        vars(measured).update(self.measured)
        (losses,) = measured.losses(generator, tokens, condition, draws).values()
        return losses.double()

    def losses(self, generator: Generator, tokens: Tokens, condition: Conditioning, draws: Draws) -> dict[str, Tensor]:
        """Per-sample losses (b,) in nats per token, by mode; their mean over all samples is the training loss."""
        return {self.mode: self.loss(generator, self.corrupt(tokens, generator, draws), condition)}

    def loss(self, generator: Generator, row: Corrupted, condition: Conditioning) -> Tensor:
        """Weighted cross-entropy (B,) in nats per token."""
        head = require_law(generator.head, type(self).__name__)
        features = self.features(generator, row, condition)
        if row.weights.dim() == 3:
            nats = self.choices(generator).nats_by_group(features, row.targets)
            return (row.weights.to(nats.dtype) * nats).sum((1, 2))
        nats = head.nats(features, row.targets)
        return (row.weights.to(nats.dtype) * nats).sum(1)

    def features(
        self, generator: Generator, row: Corrupted, condition: Conditioning, added: Tensor | None = None
    ) -> Tensor:
        """Features (B, K, dim) of the positions that predict; `added` (B, M, dim) joins the marks of the tokens."""
        marks = self.marks(generator, row.layout.slice(row.layout.length - row.values.shape[1]))
        terms = [each for each in (marks, added) if each is not None]
        return generator(
            row.values, row.layout, row.mask, condition, row.hidden, outputs=row.targets.shape[1],
            added=sum(terms[1:], start=terms[0]) if terms else None,
            modulation=self.modulation(generator, row.levels),
        )  # fmt: skip


@remember(256)
def require_ordered(mask: Mask, row: Layout, clock: Literal["rank", "block"] = "rank") -> None:
    """Raises UserError where a position sees a later one of its row; the prefix is one step."""
    mask.require_cacheable(row, getattr(row, clock).clamp_min(-1))


@remember(256)
def row_layout(prefix: Layout, grid: Grid, device: torch.device, block_size: int | None = None) -> Layout:
    """The prefix and one clean copy of a grid; the same object for the same arguments."""
    return (prefix + grid_layout(grid, block_size)).to(device)
