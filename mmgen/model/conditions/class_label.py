"""What describes a whole sample: a class, or a vector such as the embedding of a speaker's voice."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout, prefix
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import NO_CLASS, Names, Vectors, Vocabulary
from mmgen.model.conditions.base import Condition, Entry

Entrances = tuple[Literal["prefix", "modulation"], ...]


class SampleCondition(Condition):
    """A condition of whole samples: `new_map` makes the map from values to vectors for each way in which it enters."""

    takes: ClassVar[type[Vocabulary]] = Vocabulary
    entrances = ("prefix", "modulation")

    def __init__(
        self,
        vocabulary: Vocabulary,
        enters: Entrances,
        dropout: float,
        own_dropout: float,
        new_map: Callable[[], nn.Module],
    ) -> None:
        super().__init__(vocabulary, enters, dropout, own_dropout)
        self.prefix = new_map() if "prefix" in enters else None
        self.vector = new_map() if "modulation" in enters else None

    @property
    def layout(self) -> Layout:
        """One position, or none."""
        return prefix(0 if self.prefix is None else 1)

    def entry(self, values: Tensor) -> Entry:
        return Entry(
            None if self.prefix is None else self.prefix(values)[:, None],
            None if self.vector is None else self.vector(values),
        )


class ClassLabel(SampleCondition):
    """One of a list of names, or none.

    Args:
        vocabulary: the names.
        spec: of the tokens.
        dim: width of the backbone.
        enters: `prefix`, as one position in front of the row (LlamaGen, MaskGIT); `modulation`, as a vector that
            modulates the blocks (DiT, ACDiT, VAR); or both.
        dropout: see `Condition`.
        own_dropout: see `Condition`.
    """

    takes = Names

    def __init__(
        self,
        vocabulary: Names,
        spec: TokenSpec,
        dim: int,
        enters: Entrances = ("prefix", "modulation"),
        dropout: float = 0.1,
        own_dropout: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, enters, dropout, own_dropout, lambda: _table(len(vocabulary.names) + 1, dim))
        self.names, self.count = vocabulary, len(vocabulary.names)

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """(B,) int64."""
        return torch.full((rows,), NO_CLASS)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """values (B,) int64 in [-1, classes)."""
        if values.shape != (rows,):
            raise UserError(f"classes must be given for {rows} samples, got {tuple(values.shape)}")
        wrong = values[(values < NO_CLASS) | (values >= self.count)]
        if len(wrong):
            raise UserError(f"class {int(wrong[0])} is out of range: known are 0 to {self.count - 1}, and -1 for none")

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B,) int64 of names, numbers, or `none`."""
        return torch.tensor([self.names.number(each) for each in texts])

    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """values (B,) int64."""
        return self.entry(torch.where(values < 0, self.count, values))  # the last row stands for none


class Speaker(SampleCondition):
    """A vector of an utterance, or none, which is a vector of NaN.

    Args:
        vocabulary: how long vectors are.
        spec: of the tokens.
        dim: width of the backbone.
        enters: `prefix`, as one position in front of the row; `modulation`; or both.
        dropout: see `Condition`.
        own_dropout: see `Condition`.
    """

    takes = Vectors

    def __init__(
        self,
        vocabulary: Vectors,
        spec: TokenSpec,
        dim: int,
        enters: Entrances = ("prefix", "modulation"),
        dropout: float = 0.1,
        own_dropout: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, enters, dropout, own_dropout, lambda: nn.Linear(vocabulary.size, dim))
        self.size = vocabulary.size
        self.none = nn.Parameter(torch.randn(self.size))

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """(B, size) NaN."""
        return torch.full((rows, self.size), torch.nan)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """values (B, size)."""
        shape = f"{rows} vectors of {self.size} numbers are needed, got shape {tuple(values.shape)}"
        require(values.shape == (rows, self.size), shape)

    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """values (B, size)."""
        return self.entry(torch.where(values.isnan(), self.none, values.to(self.none.dtype)))


def _table(rows: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=0.5)
    return table
