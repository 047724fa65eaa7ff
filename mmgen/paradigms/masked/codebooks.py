"""Masked generation over codebooks: level by level, from coarse to fine, each revealed in a few steps (SoundStorm,
Borsos et al. 2023; MAGNeT, Ziv et al. 2024).
"""

import dataclasses
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import require
from mmgen.core.layout import Layout, pad
from mmgen.core.masks import MaskName, get_mask
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import Grid, Tokens
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Corrupted, Paradigm, Request, SampleOptions, State, row_layout
from mmgen.paradigms.canvas import Canvas, real_positions
from mmgen.paradigms.codes import hide
from mmgen.paradigms.decoding import unmask
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.paradigms.schedules import RevealScheduleName, ScheduleName


class MaskedCodebooks(Paradigm):
    """Predict hidden codes of one level from the visible ones and all coarser levels; sample level by level, in each
    the best predictions first. The groups of binary tokens are levels too; tokens of one code have one level, and this
    is `Masked`.

    Args:
        schedule: law of the hidden share of the level in training. With `linear` the loss is a bound on the negative
            log-likelihood in nats per token (of all levels); the others are surrogates.
        mask: who may see whom.
        steps: sampling steps of each level, the last number for all that follow; `SampleOptions.steps` replaces the
            first.
        span: positions in a row that are hidden and revealed together (MAGNeT: 3).
        context: how far in time levels after the first see to either side, since fine codes depend on what is near
            (MAGNeT: 5); None for everything. The prefix stays visible.
        prompt: share of training rows that begin with a prompt: positions up to a random one, which are given at all
            levels (SoundStorm: all rows).
        coarse: how much more often training draws coarse levels, level q of Q in proportion to (Q - q)^coarse. The loss
            is weighted by its inverse, so that its mean stays the same: it is less noisy where more is drawn.
        greedy: levels from this one on take the most probable codes (SoundStorm: 1); None for none.
        token_noise: share of the visible codes that are random in the input in training alone, so that a network goes
            on well after mistakes of its own (after MoMask, Guo et al. 2024).
        sampling_schedule: what stays hidden after each sampling step of a level, as for `Masked`; the training schedule
            where None.
    """

    mode = "masked"
    starts = False
    likelihood = "bound"
    unit = "code"

    def __init__(
        self,
        schedule: ScheduleName = "cosine",
        mask: MaskName = "bidirectional",
        steps: tuple[int, ...] = (16, 4, 2, 1),
        span: int = 1,
        context: int | None = None,
        prompt: float = 0.0,
        coarse: float = 0.0,
        greedy: int | None = None,
        token_noise: float = 0.0,
        sampling_schedule: RevealScheduleName | None = None,
    ) -> None:
        super().__init__(mask)
        self.steps = tuple(steps)
        checks = {
            f"steps {list(self.steps)} must be numbers of at least 1": bool(steps) and min(steps) >= 1,
            f"span {span} must be at least 1": span >= 1,
            f"context {context} must be at least 1": context is None or context >= 1,
            f"prompt {prompt} must lie in [0, 1]": 0 <= prompt <= 1,
            f"coarse {coarse} must be at least 0": coarse >= 0,
            f"greedy {greedy} must be at least 0": greedy is None or greedy >= 0,
            f"token_noise {token_noise} must lie in [0, 1]": 0 <= token_noise <= 1,
        }
        for message, fine in checks.items():
            require(fine, message)
        self.schedule, self.span, self.context = schedule, span, context
        self.sampling_schedule: RevealScheduleName = sampling_schedule or schedule
        self.prompt, self.coarse, self.greedy, self.token_noise = prompt, coarse, greedy, token_noise
        self.measured = {"schedule": "linear", "prompt": 0.0}
        if context is not None:
            self.mask = self.mask & get_mask(f"level_local({context})")

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """One level of each row is partly hidden and predicts what is, coarser ones are seen, finer ones are not."""
        head = self.choices(generator)
        values = head.split(tokens.values)
        _, length, depth = values.shape
        open_ = self._unprompted(real_positions(values, tokens.lengths), draws)
        chance = torch.arange(depth, 0, -1, dtype=torch.float64, device=values.device) ** self.coarse
        chance = chance / chance.sum()
        level = torch.bucketize(draws.uniform("level"), chance.cumsum(0)[:-1], right=True)
        spans = Spans(head.choices, length, self.span)
        block = torch.zeros(spans.count, dtype=torch.int64, device=values.device)
        together, weight = hide(block, 1, spans.any(open_), self.schedule, draws)
        # A span weighs 1 / k of k hidden ones: times the open spans and by the open positions, this is nats per token.
        weight = weight * (spans.any(open_).sum(1) / open_.sum(1) / chance[level])[:, None]
        predicted = (open_ & spans.spread(together))[..., None]
        drawn, here = torch.arange(depth, device=values.device), level[:, None, None]
        weights = torch.where(predicted & (drawn == here), spans.spread(weight)[..., None], 0.0)
        hidden = open_[..., None] & ((drawn > here) | (predicted & (drawn == here)))
        layout = row_layout(generator.prefix, tokens.grid, values.device)
        if self.context is not None:
            layout = layout.expand(len(values)).but(level=level[:, None].expand(-1, layout.length))
        layout = pad(layout, tokens.lengths, generator.prefix_length)
        visible = tokens.values
        if self.token_noise and generator.training:
            visible = self.codes(generator).replace(visible, self.token_noise, "token_noise", draws)
        return Corrupted(visible, hidden, layout, self.mask, tokens.values, weights)

    def _unprompted(self, real: Tensor, draws: Draws) -> Tensor:
        """(B, N) bool, the real positions behind a prompt, of which every row keeps one at least."""
        prompted = draws.uniform("prompted") < self.prompt
        begin = torch.where(prompted, (draws.uniform("prompt") * real.sum(1)).long(), 0)
        return real & (torch.arange(real.shape[1], device=real.device) >= begin[:, None])

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """Level after level; `keep` may fix any positions, at all levels."""
        options.require_plain(self.mode)
        canvas = Canvas(generator, request)
        yield canvas.state(0, 0, 0)
        yield from self.reveal(canvas, request.guided(generator, options.guidance), request, options)

    def reveal(
        self,
        canvas: Canvas,
        model: GuidedGenerator,
        request: Request,
        options: SampleOptions,
        first: int = 0,
        step: int = 0,
    ) -> Iterator[State]:
        """Fill the levels of a canvas from `first` on, whose coarser ones are there, after so many steps."""
        generator, start = model.generator, model.generator.prefix_length
        head = self.choices(generator)
        spans, open_ = Spans(head.choices, canvas.length, self.span), ~canvas.committed
        depth = torch.arange(head.groups, device=open_.device)
        for level in range(first, head.groups):
            row = _level_row(generator.prefix, request.whole(generator), open_.device, level)
            row = pad(row.slice(0, start + canvas.length), canvas.lengths, start)

            def filled(codes: Tensor, level: int = level) -> Tensor:
                known = head.split(canvas.tokens).clone()
                known[..., level] = torch.where(open_, spans.row(codes), known[..., level])
                return known

            def predict(codes: Tensor, revealed: Tensor, level: int = level, row: Layout = row) -> Tensor:
                values, unknown = filled(codes), open_ & ~spans.spread(revealed)
                hidden = open_[..., None] & (depth > level) | (unknown[..., None] & (depth == level))
                progress = (canvas.real & ~unknown).sum(1).double() / canvas.real.sum(1)
                logits = model(head.join(values), row, self.mask, progress, hidden=hidden, outputs=canvas.length)
                return spans.group(logits[:, :, level], values[..., level], open_)

            steps = self.steps[min(level, len(self.steps) - 1)]
            if level == 0 and options.steps is not None:
                steps = options.steps
            decoding = options.decoding
            if self.greedy is not None and level >= self.greedy:
                decoding = dataclasses.replace(decoding, temperature=0.0)
            states = unmask(
                predict, spans.tiles(head.split(canvas.tokens)[..., level]), ~spans.any(open_),
                decoding, self.sampling_schedule, steps, request.draws, f"masked/{level}",
            )  # fmt: skip
            for codes, revealed in states:
                canvas.tokens, step = head.join(filled(codes)), step + 1
                seen = spans.spread(revealed) | ~open_
                if level + 1 == head.groups:
                    canvas.committed = seen
                yield canvas.state(step, level, model.forward_passes, seen if level == 0 else torch.ones_like(seen))


class Spans:
    """Runs of `size` positions of a row of `length`, the last one shorter where they do not fit: the `codes` choices of
    a level are hidden and revealed together in each.
    """

    def __init__(self, codes: int, length: int, size: int) -> None:
        self.codes, self.length, self.size = codes, length, size
        self.count = math.ceil(length / size)

    def tiles(self, x: Tensor, value: int | bool = 0) -> Tensor:
        """(B, N) -> (B, spans, size), with `value` behind the end."""
        return F.pad(x, (0, self.count * self.size - self.length), value=value).view(len(x), self.count, self.size)

    def any(self, positions: Tensor) -> Tensor:
        """(B, N) bool -> (B, spans): where any of the span's is true."""
        return self.tiles(positions, False).any(-1)

    def spread(self, x: Tensor) -> Tensor:
        """(B, spans) -> (B, N): each position has what its span has."""
        return x.repeat_interleave(self.size, dim=1)[:, : self.length]

    def row(self, codes: Tensor) -> Tensor:
        """Codes (B, spans, size) -> (B, N), inverse of `tiles`."""
        return codes.flatten(1)[:, : self.length]

    def group(self, logits: Tensor, known: Tensor, open_: Tensor) -> Tensor:
        """Logits of a level (B, N, choices) -> (B, spans, size, choices); positions that are not open have their known
        code.
        """
        certain = F.one_hot(torch.where(open_, 0, known), self.codes).to(logits.dtype).log()
        logits = torch.where(open_[..., None], logits, certain)
        short = certain.new_full((len(logits), self.count * self.size - self.length, self.codes), -math.inf)
        short[..., 0] = 0
        return torch.cat([logits, short], dim=1).view(len(logits), self.count, self.size, self.codes)


@remember(256)
def _level_row(prefix: Layout, grid: Grid, device: torch.device, level: int) -> Layout:
    return row_layout(prefix, grid, device).but(level=level)
