"""Rows cut into pieces: what lies between some spans, and then the spans, each behind its sentinel (CM3, Aghajanyan et
al. 2022; VoiceCraft, Peng et al. 2024), for training and sampling alike.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout, Role
from mmgen.core.patterns import Pattern, gather, lay
from mmgen.core.tokens import Grid

Placing = Literal["original", "closed", "rearranged"]


@dataclass(frozen=True, eq=False)
class Spans:
    """Parts of rows that are to be filled in."""

    start: Tensor  # (B, m) int64 first frame of each; ascending, and never touching the one before
    length: Tensor  # (B, m) int64 frames of each; 0 for none, behind all others

    @property
    def count(self) -> Tensor:
        """(B,) int64 spans a row."""
        return (self.length > 0).sum(1)


def draw_spans(lengths: Tensor, least: int, most: int, longest: int | None, draws: Draws) -> Spans:
    """Spans of rows of `lengths` (B,) frames: a Poisson number of mean 1, within [least, most] and as fit; each of any
    length up to `longest` and to an equal share of the row, all alike; and anywhere, but apart.
    """
    device = lengths.device
    chance = torch.tensor([math.exp(-1) / math.factorial(k) for k in range(most)], dtype=torch.float64, device=device)
    drawn = torch.bucketize(draws.uniform("spans/count"), chance.cumsum(0), right=True)
    count = torch.minimum(drawn.clamp(least, most), (lengths + 1) // 2)[:, None]
    share = (lengths[:, None] - count + 1) // count.clamp_min(1)
    share = share if longest is None else share.clamp_max(longest)
    there = torch.arange(most, device=device) < count
    length = torch.where(there, 1 + (draws.uniform("spans/length", most) * share).long(), 0)
    free = lengths[:, None] - (count - 1) - length.sum(1, keepdim=True)
    before = (draws.uniform("spans/start", most) * (free + 1)).long()
    before = torch.where(there, before, free).sort(dim=1).values
    start = before + (length + 1).cumsum(1) - (length + 1)
    return Spans(torch.where(there, start, 0), length)


def holes(keep: Tensor) -> Spans:
    """The runs of positions that are not kept: keep (B, N) bool."""
    hole = F.pad(~keep, (1, 1)).long()
    edge = hole.diff(dim=1)
    number = max(1, int((edge == 1).sum(1).max()))
    first, last = ((edge == sign).long().argsort(dim=1, descending=True, stable=True) for sign in (1, -1))
    there = torch.arange(number, device=keep.device) < (edge == 1).sum(1, keepdim=True)
    start, stop = first[:, :number], last[:, :number]
    return Spans(torch.where(there, start, 0), torch.where(there, stop - start, 0))


@dataclass(frozen=True, eq=False)
class Pieces:
    """The pieces of rows in the order in which they stand, J = 2 m + 1: m + 1 of context, then m spans."""

    pattern: Pattern  # in which each piece is laid out for itself, so that no step holds codes of two
    source: Tensor  # (B, J), as all below: its first frame in the tensor that holds the codes
    place: Tensor  # where its first frame stands
    length: Tensor  # its frames; 0 for none
    sentinel: Tensor  # the number of the sentinel before it; -1 for none
    mark: Tensor  # where that stands
    end: Tensor  # bool: it has an END

    @property
    def stop(self) -> Tensor:
        """(B, J) positions of the row up to the end of each piece."""
        return ((self.sentinel >= 0) + self.pattern.steps(self.length, self.end)).cumsum(1)

    @property
    def head(self) -> Tensor:
        """(B, J) the position of each piece's sentinel, behind which its first step follows; for the first piece -1."""
        stop = self.stop
        return torch.cat([torch.full_like(stop[:, :1], -1), stop[:, :-1]], dim=1)

    def at(self, index: Tensor) -> "Positions":
        """What the positions (B, n) of the rows are; -1 is the last one of the prefix, and what is below is none."""
        piece = torch.searchsorted(self.stop, index.contiguous(), right=True)
        own = piece.clamp_max(self.length.shape[1] - 1)
        step = index - self.head.gather(1, own) - 1
        return Positions(self, index, own, step, (piece == own) & (index >= -1))


@dataclass(frozen=True, eq=False)
class Positions:
    """Some positions (B, n) of rows: their `index`, the `piece` of each, its `step` in that piece, -1 for its sentinel,
    and whether it is `real`, neither before nor behind the row.
    """

    pieces: Pieces
    index: Tensor
    piece: Tensor
    step: Tensor
    real: Tensor

    def of(self, field: Tensor) -> Tensor:
        """(B, n) of a field of the pieces."""
        return field.gather(1, self.piece)

    def frames(self, ahead: int = 0) -> Tensor:
        """(B, n, Q) frame of each level within the piece, so many steps ahead, as `Pattern.at`."""
        return self.pieces.pattern.at(self.step + ahead, self.of(self.pieces.length), self.of(self.pieces.end))

    def values(self, codes: Tensor, frames: Tensor) -> Tensor:
        """(B, n, Q) of codes (B, T, Q), at frames from `frames`."""
        return gather(codes, frames + self.of(self.pieces.source)[..., None])

    def layout(self, grid: Grid) -> Layout:
        """As a row, in which what is not real is seen by nobody."""
        pattern, length, end = self.pieces.pattern, self.of(self.pieces.length), self.of(self.pieces.end)
        inside, depth = (part(self.step, length, end) for part in (pattern.clock, pattern.depth))
        marks = self.step < 0
        clock = torch.where(marks, self.of(self.pieces.mark), self.of(self.pieces.place) + inside)
        return lay(
            clock, depth.clamp(0, pattern.levels - 1), grid,
            rank=self.index, block=self.index,
            document=torch.where(self.real, 0, -1 - self.index.abs()),
            segment=torch.where(marks, self.of(self.pieces.sentinel), 0).clamp_min(0),
            role=torch.where(marks & self.real, Role.SENTINEL, Role.CLEAN),
        )  # fmt: skip


def cut(
    pattern: Pattern, spans: Spans, lengths: Tensor, placing: Placing, ends: bool, widths: Tensor, apart: int = 0
) -> Pieces:
    """Rows with their spans moved to the end.

    Args:
        pattern: of each piece.
        spans: in rows of `lengths`.
        lengths: (B,) int64 frames of the rows.
        placing: where spans and what follows them stand: `original`, as in the row; `closed`, as if a span had no
            length, from where it was cut; `rearranged`, one piece after the other.
        ends: spans and rows have an END.
        widths: (B, m) frames that the spans have now; `spans.length` when nothing has changed.
        apart: frames that each span has of its own in the tensor of codes, behind the row; 0 for those of the row.
    """
    count, width = spans.count[:, None], spans.length.shape[1]
    number = torch.arange(width, device=lengths.device)
    there = number < count
    full = lengths[:, None]
    first = torch.cat([torch.zeros_like(full), torch.where(there, spans.start + spans.length, full)], dim=1)
    last = torch.cat([torch.where(there, spans.start, full), full], dim=1)
    context = (last - first).clamp_min(0)
    context = torch.where(torch.arange(width + 1, device=lengths.device) <= count, context, 0)
    before = context.cumsum(1) - context
    source = spans.start if not apart else (full.amax() + number * apart).expand_as(spans.start)
    if placing == "original":
        places, marks = (first, spans.start), spans.start
    elif placing == "closed":
        places, marks = (before, before[:, 1:]), before[:, 1:]
    else:
        after = context.sum(1, keepdim=True) + widths.cumsum(1) - widths
        places, marks = (before, after), before[:, 1:]
    sentinel = torch.where(there, number, -1)
    whole = torch.arange(width + 1, device=lengths.device) == count  # the last piece of context, where the row ends
    return Pieces(
        pattern,
        torch.cat([first, source], dim=1),
        torch.cat(places, dim=1),
        torch.cat([context, widths], dim=1),
        torch.cat([torch.full_like(full, -1), sentinel, sentinel], dim=1),
        torch.cat([torch.zeros_like(full), marks, marks if placing != "rearranged" else places[1]], dim=1),
        torch.cat([whole, there], dim=1) & ends,
    )
