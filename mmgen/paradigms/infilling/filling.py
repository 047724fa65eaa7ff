"""Where the rows of a batch are while their holes are filled."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout
from mmgen.core.patterns import Pattern, gather
from mmgen.core.tokens import Grid
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms.autoregressive.steps import leveled, like
from mmgen.paradigms.base import Request, State
from mmgen.paradigms.canvas import Canvas
from mmgen.paradigms.infilling.spans import Pieces, Placing, cut, holes


class Filling:
    """The holes of a batch, what `request.keep` leaves open, each row at its own one and at its own step there. With
    `fit` each hole keeps its length; otherwise its END decides, where pieces have one (`ends`). Raises UserError for
    more than `most` holes a row, or a free length that nothing decides.
    """

    def __init__(
        self,
        pattern: Pattern,
        placing: Placing,
        most: int,
        generator: Generator,
        request: Request,
        fit: bool,
        ends: bool,
    ) -> None:
        endless = "a span's own length needs an END: train with model.paradigm.ends, or let holes keep their length"
        require(fit or ends, endless)
        fixed = "under positions 'original' the gap tells how long a span is: let holes keep their length and make them"
        mend = "as long as wanted, or train with positions 'closed' or 'rearranged'"
        require(fit or placing != "original", f"{fixed} {mend}")
        self.pattern, self.placing, self.generator, self.fit, self.ends = pattern, placing, generator, fit, ends
        canvas = Canvas(generator, request)
        self.full, self.row_lengths, self.shape = canvas.full, request.lengths, canvas.tokens.shape
        batch, device = len(canvas.tokens), canvas.tokens.device
        self.lengths = canvas.real.sum(1)
        self.spans = holes(canvas.committed)
        self.count = self.spans.count
        if int(self.count.max()) > most:
            row = int(self.count.argmax())
            holes_of_row = f"row {row} has {int(self.count[row])} holes"
            raise UserError(f"{holes_of_row} and the model fills up to {most} at once: fill them in turn")
        self.room = self.full - (self.lengths - self.spans.length.sum(1))
        self.apart = max(1, int((self.spans.length.amax(1) if fit else self.room).max()))
        known, width = leveled(canvas.tokens), self.spans.length.shape[1]
        self.codes = F.pad(known, (0, 0, 0, width * self.apart))
        self.frame = torch.arange(self.full, device=device)
        self.number = torch.arange(width, device=device)
        self.current, self.step, self.fed = torch.zeros(3, batch, dtype=torch.int64, device=device)
        names = [f"infill/token/{hole}" for hole in range(width)]
        self.head = require_choices(generator.head, "SpanInfill")
        numbers = [request.draws.uniform(name, self.apart, self.head.groups) for name in names]
        self.uniform = torch.stack(numbers, dim=1)
        self.widths, self.settled = self.spans.length, torch.zeros_like(self.spans.length, dtype=torch.bool)
        self._settle()
        self._advance()

    def _settle(self) -> None:
        """The pieces as they are now. The first open hole of free length takes all room but a frame of each behind."""
        if not self.fit:
            open_ = (self.number < self.count[:, None]) & ~self.settled
            left = self.room - torch.where(self.settled, self.widths, 0).sum(1) - open_.sum(1) + 1
            self.widths = torch.where(open_, torch.where(open_.cumsum(1) == 1, left[:, None], 1), self.widths)
        self.pieces: Pieces = cut(
            self.pattern, self.spans, self.lengths, self.placing, self.ends, self.widths, self.apart
        )

    @property
    def positions(self) -> int:
        """Positions of the longest row."""
        return int(self.pieces.stop[:, -1].max())

    def _now(self, field: Tensor) -> Tensor:
        """(B,) of a field (B, m), for the hole where each row is."""
        return field.gather(1, self.current.clamp_max(len(self.number) - 1)[:, None])[:, 0]

    def next_codes(self) -> tuple[Tensor, Tensor]:
        """Frames (B, Q) of each row's next step, and which of their codes (B, Q) are to be drawn; none when done."""
        width, active = self._now(self.widths), self.current < self.count
        frames = self.pattern.at(self.step, width, self.ends)
        return frames, active[:, None] & (frames >= 0) & (frames < width[:, None])

    def _advance(self) -> None:
        """Past the steps in which nothing is to be drawn, to the next hole where one is full."""
        while True:
            _, wanted = self.next_codes()
            idle = (self.current < self.count) & ~wanted.any(1)
            if not bool(idle.any()):
                return
            self.step = self.step + idle.long()
            over = idle & (self.step >= self.pattern.steps(self._now(self.widths), self.ends))
            self.step = torch.where(over, 0, self.step)
            self.settled = self.settled | (over[:, None] & (self.number == self.current[:, None]))
            self.current = self.current + over.long()
            self._settle()

    def feed(self, grid: Grid, stored: int) -> tuple[Tensor, Tensor, Layout]:
        """Values, hidden levels and layout of what the model has not read before the next step; shorter rows are filled
        in front, by positions numbered from the `stored` ones of the cache on.
        """
        head = self.pieces.head[:, len(self.number) + 1 :]
        upto = torch.where(self.current < self.count, self._now(head) + self.step + 1, self.fed)
        most = int((upto - self.fed).max())
        index = upto[:, None] - most + torch.arange(most, device=upto.device)
        new = index >= self.fed[:, None]
        here = self.pieces.at(index.clamp_min(0))
        frames = here.frames()
        hidden = (frames < 0) | (frames >= here.of(self.pieces.length)[..., None]) | ~new[..., None]
        values = here.values(self.codes, frames).masked_fill(hidden, 0)
        layout = here.layout(grid)
        filler = (-1 - stored - torch.arange(most, device=index.device)).expand_as(index)
        layout = layout.but(document=torch.where(new, 0, filler))
        self.fed = upto
        return like(values, self.generator), like(hidden, self.generator), layout

    def chance(self, frames: Tensor) -> Tensor:
        """(B, groups) uniform numbers for the codes at frames (B, Q)."""
        row = torch.arange(len(frames), device=frames.device)
        own = self.uniform[row, self.current.clamp_max(len(self.number) - 1)]
        index = frames.clamp(0, self.apart - 1)[:, None].expand(-1, -1, own.shape[-1])
        return own.gather(1, index)[:, 0]

    def take(self, frames: Tensor, wanted: Tensor, drawn: Tensor) -> None:
        """Write what was drawn (B, Q) and go on; holes that drew END are over."""
        hole = self.current.clamp_max(len(self.number) - 1)
        if self.ends:
            over = wanted[:, 0] & (drawn[:, 0] == self.generator.spec.size)
            if bool(over.any()):
                here = (self.number == hole[:, None]) & over[:, None]
                self.widths, self.settled = torch.where(here, frames[:, :1], self.widths), self.settled | here
                wanted = wanted & (frames < self._now(self.widths)[:, None])
                self._settle()
        rows, levels = wanted.nonzero(as_tuple=True)
        first = int(self.lengths.max()) + hole * self.apart
        self.codes[rows, first[rows] + frames[rows, levels], levels] = drawn[rows, levels]
        self.step = self.step + (self.current < self.count).long()
        self._advance()

    def state(self, number: int, passes: int) -> State:
        """The rows put together again, in raster order. What comes after an open hole of free length is not settled."""
        width = len(self.number)
        order = [0] + [piece for hole in range(width) for piece in (width + 1 + hole, hole + 1)]
        length, source = self.pieces.length[:, order], self.pieces.source[:, order]
        stop = length.cumsum(1)
        frame = self.frame.expand(len(stop), -1).contiguous()
        piece = torch.searchsorted(stop, frame, right=True)
        beyond, own = piece == len(order), piece.clamp_max(len(order) - 1)
        inside = frame - (stop - length).gather(1, own)
        at = (source.gather(1, own) + inside).masked_fill(beyond, 0)
        tokens = gather(self.codes, at[..., None].expand(-1, -1, self.codes.shape[-1])).masked_fill(
            beyond[..., None], 0
        )
        hole, here = (own - 1) // 2, self.current[:, None]  # of a span its own, of context the one before it
        ready = self.pattern.place(inside, self._now(self.widths)[:, None], self.ends).amax(-1)
        spans = (hole < here) | ((hole == here) & (ready < self.step[:, None]))
        context = (hole < here) | torch.tensor(self.fit, device=hole.device)
        done = (self.current >= self.count)[:, None]
        committed = torch.where(own % 2 == 1, spans, context)
        committed = torch.where(beyond, done | self.fit, committed)
        lengths = self.row_lengths if self.fit else torch.where(done[:, 0], stop[:, -1], self.full)
        shaped = like(tokens, self.generator)
        return State(shaped, committed, number, int(self.current.min()), passes, lengths=lengths)
