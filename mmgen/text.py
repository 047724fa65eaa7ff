"""Texts as rows of symbols: one a character, or one a phoneme's letter."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mmgen.errors import UserError

NO_SYMBOL = -1  # after the end of a text
_SHOWN = 60  # characters of a text that a message repeats


@dataclass(frozen=True)
class Text:
    """The texts that a model reads.

    Args:
        alphabet: the characters that it knows; a character's place is its symbol.
        length: of the longest text, in characters.
        pace: seconds of sound a character, on average; English is spoken at about 14 characters a second.

    Raises:
        UserError: no characters, one twice or white space other than a blank, or no length or pace.
    """

    alphabet: str
    length: int
    pace: float = 0.07

    def __post_init__(self) -> None:
        if not self.alphabet or len(set(self.alphabet)) < len(self.alphabet):
            raise UserError(f"an alphabet has at least one character and none twice, got {self.alphabet!r}")
        if any(character.isspace() and character != " " for character in self.alphabet):
            raise UserError(f"the only white space of an alphabet is a blank, got {self.alphabet!r}")
        if self.length < 1 or not self.pace > 0:
            raise UserError(f"a text has at least 1 character and a pace above 0, got {self.length} and {self.pace:g}")

    def normal(self, text: str) -> str:
        """A text as it is encoded: white space is one blank, none at the ends; lower case unless capitals are known."""
        text = " ".join(text.split())
        return text if any(character.isupper() for character in self.alphabet) else text.lower()

    def encode(self, text: str) -> Tensor:
        """(length,) int64 in [-1, len(alphabet)), `NO_SYMBOL` after the text's end.

        Raises:
            UserError: it is empty, too long, or has characters that the alphabet lacks.
        """
        normal = self.normal(text)
        shown = repr(normal if len(normal) <= _SHOWN else normal[:_SHOWN] + "…")
        if not normal:
            raise UserError("a text needs at least one character, got an empty one")
        unknown = sorted(set(normal) - set(self.alphabet))
        if unknown:
            raise UserError(
                f"text {shown} has {', '.join(map(repr, unknown))}, unknown here: write it with {self.alphabet!r}"
            )
        if len(normal) > self.length:
            raise UserError(
                f"text {shown} has {len(normal)} characters, and at most {self.length} are read: shorten it"
            )
        symbols = torch.full((self.length,), NO_SYMBOL, dtype=torch.int64)
        symbols[: len(normal)] = torch.tensor([self.alphabet.index(character) for character in normal])
        return symbols

    def encode_all(self, texts: Iterable[str]) -> Tensor:
        """(B, length) int64, as `encode` gives each."""
        rows = [self.encode(text) for text in texts]
        return torch.stack(rows) if rows else torch.empty(0, self.length, dtype=torch.int64)

    def decode(self, symbols: Tensor) -> str:
        """The text of symbols (N,) int64; `NO_SYMBOL` stands for nothing."""
        return "".join(self.alphabet[symbol] for symbol in symbols.tolist() if symbol != NO_SYMBOL)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON and checkpoints."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Text":
        """Inverse of `to_dict`."""
        return cls(**plain)
