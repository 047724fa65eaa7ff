"""A text read character by character."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.characters import NO_SYMBOL, Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, prefix, text_prefix
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FreeText
from mmgen.model.conditions.base import Condition, Entrance, Entry

_NEAR = 0.2  # seconds of a text that a frame sees on either side
_WORD = 0.3  # seconds

Reading = Literal["prefix", "frames", "both"]
_ENTERS: dict[str, tuple[Entrance, ...]] = {
    "prefix": ("prefix",),
    "frames": ("frames",),
    "both": ("prefix", "frames"),
}


class Characters(Condition):
    """The characters of a text, or none.

    Args:
        vocabulary: what texts are like; or captions whose alphabet is known.
        spec: of the tokens, with whose rate a text keeps pace.
        dim: width of the backbone.
        reading: how a text is read. `prefix`: its places are positions in front of the row, which attention looks up.
            `frames`: what is written around the time of a frame, to 0.2 s or so, is added to its positions, as
            SoundStorm (Borsos et al. 2023) adds its semantic tokens: quickly learnt and cheap, where `Text.durations`
            tell when. `both`.
        dropout: see `Condition`.
        own_dropout: see `Condition`.

    Raises:
        UserError: another reading, or `frames` for tokens without a rate in time.
    """

    takes = Text
    reads_text = True
    entrances = ("prefix", "frames")
    where: Tensor

    def __init__(
        self,
        vocabulary: Text | FreeText,
        spec: TokenSpec,
        dim: int,
        reading: Reading = "prefix",
        dropout: float = 0.1,
        own_dropout: float = 0.0,
    ) -> None:
        if reading not in get_args(Reading):
            raise UserError(f"a text is read as {', '.join(get_args(Reading))}, not {reading!r}")
        if isinstance(vocabulary, FreeText) and vocabulary.alphabet:
            vocabulary = Text(vocabulary.alphabet, vocabulary.longest)
        super().__init__(vocabulary, _ENTERS[reading], dropout, own_dropout)
        assert isinstance(vocabulary, Text)
        self.text, text, rate = vocabulary, vocabulary, spec.rate
        self.symbol = nn.Embedding(len(text.alphabet) + 1, dim)  # the last row stands for the places without one
        nn.init.normal_(self.symbol.weight, std=0.35)
        self.place: nn.Embedding | None = None
        self.near: nn.Conv1d | None = None
        self._layout = prefix(0)
        if "prefix" in self.enters:
            self._layout = text_prefix(text.length, text.pace * (rate or 0.0))
            self.place = nn.Embedding(text.length, dim)
            nn.init.normal_(self.place.weight, std=0.35)
        if "frames" in self.enters:
            if rate is None:
                raise UserError(f"reading {reading!r} needs tokens with a rate in time")
            near = math.ceil(_NEAR / text.pace)
            self.near = nn.Conv1d(dim, dim, 2 * near + 1, padding=near)
            count = math.ceil(text.length * text.pace * rate)
            where = ((torch.arange(count) + 0.5) / (text.pace * rate)).long().clamp_max(text.length - 1)
            self.register_buffer("where", where, persistent=False)  # (F,) the place of each frame

    @property
    def layout(self) -> Layout:
        """A position for each place of the text, or none."""
        return self._layout

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """(B, L) int64."""
        return torch.full((rows, self.text.length), NO_SYMBOL)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """values (B, L) int64 in [-1, alphabet)."""
        length, alphabet = self.text.length, len(self.text.alphabet)
        if values.shape != (rows, length) or bool((values >= alphabet).any()):
            raise UserError(
                f"a text has {length} places of characters from -1 (none) to {alphabet - 1}, got {tuple(values.shape)}"
            )

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, L) int64."""
        return self.text.encode_all(texts)

    def timing_jitter(self, draws: Draws) -> Tensor | None:
        """Random text-to-frame misalignment, (B, F) int64 places by which each frame misses its own: as if every word
        of about `_WORD` seconds were off by `Text.spread`. None for texts without a spread.
        """
        if self.near is None or not self.text.spread:
            return None
        text = self.text
        words = math.ceil(text.length * text.pace / _WORD) + 1
        misses = draws.normal("text timing", words) * text.spread / text.pace
        return F.interpolate(misses[:, None], len(self.where), mode="linear", align_corners=True)[:, 0].round().long()

    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """values (B, L) int64; with draws the timing is jittered."""
        symbols = self.symbol(torch.where(values < 0, len(self.text.alphabet), values))
        places = None if self.place is None else symbols + self.place.weight
        if self.near is None:
            return Entry(places)
        jitter = None if draws is None else self.timing_jitter(draws)
        near = rearrange(self.near(rearrange(symbols, "b l d -> b d l")), "b d l -> b l d")
        where = self.where.expand(len(near), -1)
        where = where if jitter is None else (where + jitter).clamp(0, self.text.length - 1)
        return Entry(places, frames=near.gather(1, where[..., None].expand(-1, -1, near.shape[2])))
