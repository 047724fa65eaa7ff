"""Texts as rows of symbols: one a character, or one a phoneme's letter, each where its sound is to be expected."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, repeat
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.vocabulary import Vocabulary

NO_SYMBOL = -1  # between characters, and after the end of a text
_PACE = 0.025  # seconds a place of a timed text: room for the shortest sounds
_PULL = 1.0  # towards the average: of a character that is seen in one text of the fit, half of what it differs
_PAIR = 0.03  # seconds that one neighbour or another makes, typically
_LEAST = 5e-5  # seconds that are worth writing down
_ENOUGH = 4000  # texts that tell how long characters take
_QUOTED = 60  # characters of a text that a message repeats

Transcript = Sequence[tuple[int, float]]  # characters, and the second at which each begins


@dataclass(frozen=True)
class Text(Vocabulary):
    """The texts that a model reads.

    Args:
        alphabet: the characters that it knows; a character's place in it is its symbol.
        length: places of a row; the longest text has a character in each.
        pace: seconds of sound a place; English is spoken at about 14 characters a second.
        durations: seconds of each character of the alphabet, by which a character stands where its sound is to be
            expected, with empty places between them; None for one character a place.
        pairs: seconds that a character takes longer, or less long below 0, behind another one (`th`: an h behind a t),
            a blank before the first; those that are not named take as long as ever.
        spread: seconds by which a word that is expected is off, where those of training stand at measured times:
            a model trusts their places no more than that.

    Raises:
        UserError: no characters, one twice or white space other than a blank, no length or pace, durations that are
            not one a character, or negative, pairs of what is no character, or a negative spread.
    """

    alphabet: str
    length: int
    pace: float = 0.07
    durations: tuple[float, ...] | None = None
    pairs: dict[str, float] = field(default_factory=dict)
    spread: float = 0.0

    @classmethod
    def timed(
        cls,
        alphabet: str,
        characters: int,
        longest: float,
        texts: Sequence[str],
        seconds: Sequence[float],
        aligned: bool = False,
    ) -> "Text":
        """The durations and pairs that explain best how long texts take: a least-squares fit over characters, drawn a
        little towards equal lengths, then one over pairs of neighbours of what is left, drawn a little to 0. There is
        no constant, which would be time of no character, so that every text's end would be expected too early.

        Args:
            alphabet: as above.
            characters: of the longest text.
            longest: seconds that a text may take; the row has places for both.
            texts: of the alphabet's characters, whole ones or words of them.
            seconds: that each takes.
            aligned: these are words of texts that training places by their measured times.
        """
        step = max(1, math.ceil(len(texts) / _ENOUGH))
        texts, seconds = texts[::step], seconds[::step]
        counts = torch.tensor([[text.count(each) for each in alphabet] for text in texts], dtype=torch.float64)
        taken = torch.tensor(seconds, dtype=torch.float64)
        average = float(taken.sum() / counts.sum().clamp_min(1))
        fitted = _not_negative_fit(counts, taken, average)
        names, pairs = _count_neighbours(texts)
        rest = taken - counts @ fitted
        pull = _PULL + float(rest.square().mean()) / _PAIR**2  # the less texts keep to their durations, the more
        more = torch.linalg.solve(pairs.T @ pairs + pull * torch.eye(len(names), dtype=torch.float64), pairs.T @ rest)
        spread = float((rest - pairs @ more).square().mean().sqrt()) if aligned else 0.0
        return cls(
            alphabet,
            max(characters, math.ceil(longest / _PACE)),
            _PACE,
            tuple(round(each, 4) for each in fitted.tolist()),
            {pair: round(each, 4) for pair, each in zip(names, more.tolist()) if abs(each) >= _LEAST},
            round(spread, 4),
        )

    def __post_init__(self) -> None:
        if not self.alphabet or len(set(self.alphabet)) < len(self.alphabet):
            raise UserError(f"an alphabet has at least one character and none twice, got {self.alphabet!r}")
        if any(character.isspace() and character != " " for character in self.alphabet):
            raise UserError(f"the only white space of an alphabet is a blank, got {self.alphabet!r}")
        if self.length < 1 or not self.pace > 0:
            raise UserError(f"a text has at least 1 character and a pace above 0, got {self.length} and {self.pace:g}")
        durations = self.durations
        if durations is not None and (len(durations) != len(self.alphabet) or min(durations) < 0):
            count = len(self.alphabet)
            raise UserError(f"an alphabet of {count} has as many durations, none negative, got {durations}")
        if not all(len(pair) == 2 and set(pair) <= {" ", *self.alphabet} for pair in self.pairs):
            raise UserError(f"pairs of a text are two characters of its alphabet each, got {list(self.pairs)}")
        if not self.spread >= 0:
            raise UserError(f"the spread of a text is at least 0 seconds, got {self.spread:g}")

    def normal(self, text: str) -> str:
        """A text as it is encoded: white space is one blank, none at the ends; lower case unless capitals are known."""
        text = " ".join(text.split())
        return text if any(character.isupper() for character in self.alphabet) else text.lower()

    def encode(self, text: str, transcript: Transcript | None = None) -> Tensor:
        """(length,) int64 in [-1, len(alphabet)), `NO_SYMBOL` where no character is.

        Args:
            text: of known characters.
            transcript: measured seconds of characters of the normal text, its first and the one behind its last among
                them, in order; those between follow their durations, as all do where it is None.

        Raises:
            UserError: it is empty, too long, or has characters that the alphabet lacks.
        """
        normal = self.normal(text)
        quoted = repr(normal if len(normal) <= _QUOTED else normal[:_QUOTED] + "…")
        if not normal:
            raise UserError("a text needs at least one character, got an empty one")
        unknown = sorted(set(normal) - set(self.alphabet))
        if unknown:
            raise UserError(
                f"text {quoted} has {', '.join(map(repr, unknown))}, unknown here: write it with {self.alphabet!r}"
            )
        if len(normal) > self.length:
            raise UserError(
                f"text {quoted} has {len(normal)} characters, and at most {self.length} are read: shorten it"
            )
        places = self._places(normal, transcript)
        symbols = torch.full((self.length,), NO_SYMBOL, dtype=torch.int64)
        symbols[places] = torch.tensor([self.alphabet.index(character) for character in normal])
        return symbols

    def expected(self, text: str) -> float:
        """Seconds that a text takes, of known characters."""
        if self.durations is None:
            return len(self.normal(text)) * self.pace
        return max(0.0, sum(self._takes(self.normal(text))))

    def _takes(self, normal: str) -> list[float]:
        """Seconds of each character; perhaps below 0 for one that shortens its neighbour."""
        assert self.durations is not None
        behind = (self.pairs.get(pair, 0.0) for pair in _neighbours(normal))
        own = (self.durations[self.alphabet.index(character)] for character in normal)
        return [more + each for more, each in zip(behind, own, strict=True)]

    def _places(self, normal: str, transcript: Transcript | None) -> list[int]:
        """Of each character, in order: none shares one, and all lie in the row."""
        if self.durations is None:
            return list(range(len(normal)))
        begins = list(accumulate(self._takes(normal), initial=0.0))
        if transcript is not None:
            expected, known = zip(*((begins[place], second) for place, second in transcript), strict=True)
            begins = np.interp(begins, expected, known).tolist()
        places: list[int] = []
        free = 0  # the first place that none has
        for number, start in enumerate(begins[:-1]):
            room = self.length - (len(normal) - number)  # the last place that leaves one for each that follows
            places.append(min(max(free, round(start / self.pace)), room))
            free = places[-1] + 1
        return places

    def encode_all(self, texts: Iterable[str], transcripts: Iterable[Transcript] | None = None) -> Tensor:
        """(B, length) int64, as `encode` gives each."""
        rows = [self.encode(*each) for each in zip(texts, repeat(None) if transcripts is None else transcripts)]
        return torch.stack(rows) if rows else torch.empty(0, self.length, dtype=torch.int64)

    def decode(self, symbols: Tensor) -> str:
        """The text of symbols (N,) int64; `NO_SYMBOL` stands for nothing."""
        return "".join(self.alphabet[symbol] for symbol in symbols.tolist() if symbol != NO_SYMBOL)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """JSON has no tuples: durations are a list there."""
        durations = fields.get("durations")
        return cls(**fields | {"durations": None if durations is None else tuple(durations)})


def _neighbours(text: str) -> list[str]:
    """Each character with the one before it, a blank before the first."""
    return [before + character for before, character in zip(" " + text, text)]


def _count_neighbours(texts: Sequence[str]) -> tuple[list[str], Tensor]:
    """All pairs of neighbours, and how often each text has each, (n, pairs) float64."""
    pairs = [(row, pair) for row, text in enumerate(texts) for pair in _neighbours(text)]
    names = sorted({pair for _, pair in pairs})
    column = {pair: place for place, pair in enumerate(names)}
    rows, columns = torch.tensor([(row, column[pair]) for row, pair in pairs]).view(-1, 2).unbind(1)
    counts = torch.zeros(len(texts), len(names), dtype=torch.float64)
    return names, counts.index_put_((rows, columns), torch.ones(len(rows), dtype=torch.float64), accumulate=True)


def _not_negative_fit(counts: Tensor, taken: Tensor, average: float) -> Tensor:
    """What each of (n, k) things is worth, none below 0, so that counts @ worth is near to taken (n,): least squares
    with a pull towards the average. Negative ones are set to 0 and the others fitted anew; otherwise every sum would be
    too large.
    """
    free = torch.ones(counts.shape[1], dtype=torch.bool)
    worth = torch.zeros(counts.shape[1], dtype=counts.dtype)
    while True:
        some, pull = counts[:, free], _PULL * torch.eye(int(free.sum()), dtype=counts.dtype)
        rest = taken - some.sum(1) * average
        worth[free] = average + torch.linalg.solve(some.T @ some + pull, some.T @ rest)
        if (worth[free] >= 0).all():
            return worth
        free &= worth >= 0
        worth[~free] = 0.0
