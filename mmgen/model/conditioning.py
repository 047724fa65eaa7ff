"""Conditions of a generator, and the one place of condition dropout."""

import math
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.characters import NO_SYMBOL, Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, prefix, text_prefix

NO_CLASS = -1  # the label of an unconditional row
NO_ACTION = -1  # of a frame to which no known action has led
_NEAR = 0.2  # seconds of a text that a frame sees on either side
_WORD = 0.3  # seconds

Reading = Literal["prefix", "frames", "both"]


class Condition(NamedTuple):
    """What a condition contributes to B rows.

    Attributes:
        prefix: (B, P, dim) positions at the start of the row.
        vector: (B, dim), for the modulation.
        frames: (B, F, dim), added to all positions of a frame, later ones have nothing; None for none.
    """

    prefix: Tensor
    vector: Tensor
    frames: Tensor | None = None

    def rows(self, index: Tensor) -> "Condition":
        """Of some rows; index (b,) int64 or (B,) bool."""
        frames = None if self.frames is None else self.frames[index]
        return Condition(self.prefix[index], self.vector[index], frames)

    def at(self, layout: Layout) -> Tensor:
        """`frames` for the positions of a layout, (B, N, dim); 0 for those in no frame (prefixes)."""
        assert self.frames is not None
        padded = F.pad(self.frames, (0, 0, 0, 1))
        count = self.frames.shape[1]
        frame = torch.where(layout.frame < 0, count, layout.frame).clamp_max(count)
        if layout.batch == 1:
            return padded[:, frame[0]]
        return padded.gather(1, frame[..., None].expand(-1, -1, padded.shape[-1]))


class Conditioning(nn.Module):
    """Class labels as one prefix position and as a modulation vector, actions as a vector for each frame (Genie, Bruce
    et al. 2024, section 2.1), and a text as a prefix position for each character. The last row of each table stands for
    `none`: no class, no action, and the places behind the end of a text.

    Args:
        classes: number of classes; 0 for an unconditional model, whose prefix is a start token.
        dim: width of the backbone.
        dropout: share of training rows that lose their condition, for guidance.
        actions: number of actions that may lead to a frame; 0 for none.
        text: what texts are like; None for none.
        rate: tokens a second, with which a text keeps pace.
        reading: how a text is read. `prefix`: its places are positions in front of the row, which attention looks up.
            `frames`: what is written around the time of a frame, to 0.2 s or so, is added to its positions, as
            SoundStorm (Borsos et al. 2023) adds its semantic tokens: quickly learnt and cheap, where `Text.durations`
            tell when. `both`.
    """

    where: Tensor

    def __init__(
        self,
        classes: int,
        dim: int,
        dropout: float = 0.1,
        actions: int = 0,
        text: Text | None = None,
        rate: float | None = None,
        reading: Reading = "prefix",
    ) -> None:
        super().__init__()
        if reading not in get_args(Reading):
            raise UserError(f"a text is read as {', '.join(get_args(Reading))}, not {reading!r}")
        self.classes, self.dropout, self.actions, self.text = classes, dropout, actions, text
        self.layout = prefix(1)
        self.near: nn.Conv1d | None = None
        if text is not None:
            self.symbol, self.place = nn.Embedding(len(text.alphabet) + 1, dim), None
            nn.init.normal_(self.symbol.weight, std=0.35)
            if reading != "frames":
                self.layout = self.layout + text_prefix(text.length, text.pace * (rate or 0.0))
                self.place = nn.Embedding(text.length, dim)
                nn.init.normal_(self.place.weight, std=0.35)
            if reading != "prefix":
                if rate is None:
                    raise UserError(f"reading {reading!r} needs tokens with a rate in time")
                near = math.ceil(_NEAR / text.pace)
                self.near = nn.Conv1d(dim, dim, 2 * near + 1, padding=near)
                count = math.ceil(text.length * text.pace * rate)
                where = ((torch.arange(count) + 0.5) / (text.pace * rate)).long().clamp_max(text.length - 1)
                self.register_buffer("where", where, persistent=False)  # (F,) the place of each frame
        self.prefix = nn.Embedding(classes + 1, dim)
        self.vector = nn.Embedding(classes + 1, dim)
        self.frame = nn.Embedding(actions + 1, dim) if actions else None
        for table in (self.prefix, self.vector, self.frame):
            if table is not None:
                nn.init.normal_(table.weight, std=0.5)

    @property
    def prefix_length(self) -> int:
        """Positions that the condition takes at the start of a row: one, and one a place of the text if it is there."""
        return self.layout.length

    def drop(
        self, labels: Tensor, actions: Tensor | None, draws: Draws, text: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Labels (B,), actions (B, F) and texts (B, L) of which a share of the rows, drawn per sample, has none any
        more.
        """
        dropped = draws.uniform("condition_dropout") < self.dropout
        kept = None if actions is None else torch.where(dropped[:, None], NO_ACTION, actions)
        said = None if text is None else torch.where(dropped[:, None], NO_SYMBOL, text)
        return torch.where(dropped, NO_CLASS, labels), kept, said

    def off(self, draws: Draws) -> Tensor | None:
        """Places of a text by which each frame misses its own while training, (B, F) int64: as if every word of about
        `_WORD` seconds were off by `Text.spread`. None where texts stand as they do at sampling.
        """
        if self.text is None or self.near is None or not self.text.spread:
            return None
        words = math.ceil(self.text.length * self.text.pace / _WORD) + 1
        misses = draws.normal("text timing", words) * self.text.spread / self.text.pace
        return F.interpolate(misses[:, None], len(self.where), mode="linear", align_corners=True)[:, 0].round().long()

    def forward(
        self,
        labels: Tensor,
        actions: Tensor | None = None,
        text: Tensor | None = None,
        off: Tensor | None = None,
    ) -> Condition:
        """labels (B,) int64 in [-1, classes), actions (B, F) int64 in [-1, actions), text (B, L) int64 characters, -1
        is none; off (B, F) int64 places by which each frame misses those of the text that are its own.

        Raises:
            UserError: actions or a text for a model that knows none.
        """
        index = torch.where(labels < 0, self.classes, labels) if self.classes else torch.zeros_like(labels)
        head = self.prefix(index)[:, None]
        if text is not None and self.text is None:
            raise UserError("this generator was trained without texts, so it cannot speak any")
        if self.text is not None:
            if text is None:
                text = torch.full((len(labels), self.text.length), NO_SYMBOL, device=labels.device)
            symbols = self.symbol(torch.where(text < 0, len(self.text.alphabet), text))
            if self.place is not None:
                head = torch.cat([head, symbols + self.place.weight], dim=1)
            if self.near is not None:
                near = rearrange(self.near(rearrange(symbols, "b l d -> b d l")), "b d l -> b l d")
                where = self.where.expand(len(near), -1)
                where = where if off is None else (where + off).clamp(0, self.text.length - 1)
                frames = near.gather(1, where[..., None].expand(-1, -1, near.shape[2]))
                return Condition(head, self.vector(index), frames)
        if actions is None:
            return Condition(head, self.vector(index))
        if self.frame is None:
            raise UserError("this generator was trained without actions, so it cannot follow any")
        return Condition(head, self.vector(index), self.frame(torch.where(actions < 0, self.actions, actions)))
