"""Autoregression over several codebooks (MusicGen, Copet et al. 2023): a row of steps with codes of some levels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout, pad
from mmgen.core.masks import MaskName
from mmgen.core.patterns import Pattern, PatternName, gather, lay
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import Grid, Tokens
from mmgen.model.generator import Generator
from mmgen.paradigms.autoregressive.steps import StepParadigm, StepRow, choose, leveled, like, require_places
from mmgen.paradigms.base import Request, SampleOptions, State
from mmgen.paradigms.canvas import Canvas
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.guidance import GuidedGenerator


@dataclass(frozen=True, eq=False)
class Question:
    """What a pass of the sampler asks: the codes of the next step."""

    values: Tensor  # (B, S) or (B, S, Q) codes of the steps that the model has not read
    hidden: Tensor  # of their shape, bool, those that these steps do not hold
    layout: Layout  # of the steps, the prefix before them in the first pass
    progress: Tensor  # (B,) committed share of each row
    known: Tensor  # (B, Q) codes of the next step, as far as they are known
    wanted: Tensor  # (B, Q) bool, which of its codes are to be drawn
    ending: Tensor | None  # (B,) bool, where END is a choice; None without END
    chance: Tensor  # (B, groups) in [0, 1), to draw with


class CodebookAutoregressive(StepParadigm):
    """Predict the codes of the next step of a pattern over the codebooks, from the condition's prefix on; sampled with
    a key-value cache, a pass a step: as many as tokens in parallel, Q - 1 more with a delay, Q times as many when flat.

    The codes of a step are independent given the steps before it, and the loss is the exact negative log-likelihood of
    this model under any pattern, in nats per token, a token being the codes of all levels: patterns compare on one
    scale. What a pattern costs is the dependence within its steps, which none has when flat.

    With `ends` rows end by themselves: the first level says END behind its last code, and the levels that come later
    complete the last tokens. The surprise of the END counts in the likelihood.

    Args:
        pattern: `delay`, `flat`, `parallel` or `coarse_first`, see `mmgen.core.patterns.Pattern`.
        delays: steps by which each level comes later, for `delay` and `coarse_first`: 0, 1, 2, ... and 0 by default.
        input_dropout: share of the steps that are hidden from the input in training, see `StepParadigm`.
        token_noise: share of the codes that are random in the input in training, likewise.
        mask: who may see whom; one under which a step sees a later one is refused.
        ends: rows end by themselves.
    """

    mode = "ar"
    likelihood = "exact"

    def __init__(
        self,
        pattern: PatternName = "delay",
        delays: list[int] | None = None,
        input_dropout: float = 0.0,
        token_noise: float = 0.0,
        mask: MaskName = "causal",
        ends: bool = False,
    ) -> None:
        super().__init__(pattern, delays, input_dropout, token_noise, mask, ends)

    def row(self, generator: Generator, grid: Grid, device: torch.device) -> Layout:
        """Prefix and steps of a whole grid but the last. Raises UserError as `steps` and `require_places`."""
        row = _row(generator.prefix, self.steps(generator), grid, self.ends, device)
        require_places(generator, row)
        return row

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> StepRow:
        """Each step predicts the codes of the next one; levels that it does not hold are hidden in it."""
        pattern, ends, codes = self.steps(generator), self.ends, leveled(tokens.values)
        full, start = codes.shape[1], generator.prefix_length
        lengths = torch.tensor([full], device=codes.device) if tokens.lengths is None else tokens.lengths
        step = torch.arange(pattern.count(full, ends), device=codes.device)[None]
        frames = pattern.at(step, lengths[:, None], ends)
        over = frames == lengths[:, None, None]
        targets = torch.where(over, generator.spec.size, gather(codes, frames))
        hidden = self.drop_inputs(((frames < 0) | over)[:, :-1].expand(len(codes), -1, -1), generator, draws)
        values = self.corrupt_inputs(gather(codes, frames[:, :-1]), generator, draws).masked_fill(hidden, 0)
        layout = self.row(generator, tokens.grid, codes.device)
        if tokens.lengths is not None:
            if not pattern.nested:
                layout = generator.prefix.to(codes.device) + _lay(pattern, step[:, :-1], lengths, ends, tokens.grid)
            layout = pad(layout, pattern.steps(lengths, ends), start)
        weights = ((frames >= 0) / lengths[:, None, None].double()).expand(len(codes), -1, -1)
        ending = frames[..., 0] > 0 if ends else None
        return StepRow(
            like(values, generator), like(hidden, generator), layout, self.mask, like(targets, generator), weights,
            ending=ending,
        )  # fmt: skip

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """A step a pass; `keep` may fix a beginning of each row, whose steps are read in one pass. Rows end at
        `request.lengths`, or else with END where they end by themselves, at the latest with the grid.
        """
        options.require_plain(self.mode)
        canvas, grid = Canvas(generator, request), request.whole(generator)
        pattern, ends, head = self.steps(generator), self.ends, self.choices(generator)
        count, device = canvas.length, canvas.tokens.device
        canvas.require_reachable(torch.arange(count, device=device), self.mode)
        walk = _Walk(pattern, canvas, ends, grid, generator)
        row = self.row(generator, grid, device)
        model = request.guided(generator, options.guidance, generator.prefix_length + pattern.count(count, ends))
        answer = self.answer(model, options.decoding)
        yield walk.state(0, 0, model)
        uniform = request.draws.uniform("codebooks/token", count, head.groups)
        number = 0
        for step in range(pattern.count(count, ends)):
            frames, wanted = walk.next_codes(step)
            if not bool(wanted.any()):
                continue
            ending = wanted[:, 0] & (frames[:, 0] > 0) & (canvas.lengths is None) if ends else None
            chance = uniform.gather(1, frames.clamp(0, count - 1)[:, None].expand(-1, -1, head.groups))[:, 0]
            known = gather(walk.codes, frames[:, None])[:, 0]
            read = walk.feed(row, step)
            walk.take(step, frames, wanted, answer(Question(*read, canvas.progress(), known, wanted, ending, chance)))
            number += 1
            yield walk.state(number, step, model)

    def answer(self, model: GuidedGenerator, decoding: Decoding) -> Callable[[Question], Tensor]:
        """What draws the codes (B, Q) of each step of a batch, in one pass."""
        head = self.choices(model.generator)

        def draw(question: Question) -> Tensor:
            features = model.features(question.values, question.layout, self.mask, hidden=question.hidden, outputs=1)
            logits = self.predict(model, features[:, 0], question.progress)
            return choose(head, logits, question.ending, decoding, question.chance)

        return draw


class _Walk:
    """Where the rows of a batch are while they go through their steps; `lengths` (B,) are their frames so far."""

    def __init__(self, pattern: Pattern, canvas: Canvas, ends: bool, grid: Grid, generator: Generator) -> None:
        self.pattern, self.canvas, self.ends, self.grid, self.generator = pattern, canvas, ends, grid, generator
        self.codes = leveled(canvas.tokens)  # a view, so that what is written here is in the canvas
        self.frame = torch.arange(canvas.length, device=self.codes.device)
        lengths = canvas.lengths
        self.lengths = torch.full_like(canvas.real[:, 0].long(), canvas.length) if lengths is None else lengths.clone()
        self.fed = -1  # steps that the model has read, or -1 when not even the prefix

    def next_codes(self, step: int) -> tuple[Tensor, Tensor]:
        """The frames (B, Q) of a step, and which of their codes (B, Q) are still to be drawn."""
        frames = self.pattern.at(torch.full_like(self.lengths, step), self.lengths, self.ends)
        here = (frames >= 0) & (frames < self.lengths[:, None])
        return frames, here & ~self.canvas.committed.gather(1, frames.clamp(0, len(self.frame) - 1))

    def feed(self, row: Layout, stop: int) -> tuple[Tensor, Tensor, Layout]:
        """The steps that the model has not read, up to `stop`: values, hidden levels and layout, the prefix first."""
        first = max(self.fed, 0)
        step = torch.arange(first, stop, device=self.codes.device)[None]
        frames = self.pattern.at(step, self.lengths[:, None], self.ends)
        hidden = (frames < 0) | (frames >= self.lengths[:, None, None])
        values = gather(self.codes, frames).masked_fill(hidden, 0)
        start = self.generator.prefix_length
        begin = 0 if self.fed < 0 else start + first
        if self.pattern.nested:
            layout = row.slice(begin, start + stop)
        else:
            layout = _lay(self.pattern, step, self.lengths, self.ends, self.grid)
            layout = layout if begin else self.generator.prefix.to(layout.rank.device) + layout
        self.fed = stop
        return like(values, self.generator), like(hidden, self.generator), layout

    def take(self, step: int, frames: Tensor, wanted: Tensor, drawn: Tensor) -> None:
        """Write what was drawn (B, Q) at a step; rows that drew END are over."""
        if self.ends:
            over = wanted[:, 0] & (drawn[:, 0] == self.generator.spec.size)
            self.lengths = torch.where(over, frames[:, 0], self.lengths)
            wanted = wanted & (frames < self.lengths[:, None])
        rows, levels = wanted.nonzero(as_tuple=True)
        self.codes[rows, frames[rows, levels], levels] = drawn[rows, levels]
        last = self.pattern.place(self.frame, self.lengths[:, None], self.ends).amax(-1)
        self.canvas.committed |= (last <= step) | (self.frame >= self.lengths[:, None])

    def state(self, number: int, step: int, model: GuidedGenerator) -> State:
        """A snapshot."""
        state = self.canvas.state(number, step, model.forward_passes)
        return replace(state, lengths=self.lengths.clone()) if self.ends else state


def _lay(pattern: Pattern, step: Tensor, lengths: Tensor, ends: bool, grid: Grid) -> Layout:
    """Layout of the steps (1, S) of rows of different lengths (B,)."""
    clock, depth = (part(step, lengths[:, None], ends) for part in (pattern.clock, pattern.depth))
    layout = lay(clock.clamp_min(0), depth, grid)
    return layout.but(rank=step.expand_as(clock), block=step.expand_as(clock))


@remember(256)
def _row(prefix: Layout, pattern: Pattern, grid: Grid, ends: bool, device: torch.device) -> Layout:
    steps = pattern.layout(grid, ends)
    return (prefix + steps.slice(0, steps.length - 1)).to(device)
