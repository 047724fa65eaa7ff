"""A class, such as a digit, an action of a motion or a voice."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, nearest
from mmgen.core.layout import Layout, prefix
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import NO_CLASS, Names
from mmgen.model.conditions.base import Condition
from mmgen.model.conditions.conditioning import Entry


class ClassLabel(Condition):
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
    entrances = ("prefix", "modulation")

    def __init__(
        self,
        vocabulary: Names,
        spec: TokenSpec,
        dim: int,
        enters: tuple[Literal["prefix", "modulation"], ...] = ("prefix", "modulation"),
        dropout: float = 0.1,
        own_dropout: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, enters, dropout, own_dropout)
        self.names, self.count = vocabulary.names, len(vocabulary.names)
        self.prefix = self._table(dim) if "prefix" in enters else None  # the last row stands for none
        self.vector = self._table(dim) if "modulation" in enters else None

    def _table(self, dim: int) -> nn.Embedding:
        table = nn.Embedding(self.count + 1, dim)
        nn.init.normal_(table.weight, std=0.5)
        return table

    @property
    def layout(self) -> Layout:
        """One position, or none."""
        return prefix(0 if self.prefix is None else 1)

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """(B,) int64."""
        return torch.full((rows,), NO_CLASS)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """values (B,) int64 in [-1, classes)."""
        if values.shape != (rows,) or bool((values < NO_CLASS).any()) or bool((values >= self.count).any()):
            raise UserError(f"a class lies between -1 (none) and {self.count - 1}, one for each of {rows} rows")

    def encode(self, given: Sequence[str]) -> Tensor:
        """(B,) int64 of names, numbers, or `none`."""
        return torch.tensor([class_number(each, self.names) for each in given])

    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """values (B,) int64."""
        index = torch.where(values < 0, self.count, values)
        return Entry(
            None if self.prefix is None else self.prefix(index)[:, None],
            None if self.vector is None else self.vector(index),
        )


def class_number(name: str, names: Sequence[str]) -> int:
    """The number of a name, of a number written out, or of `none`. Raises UserError where there is none such."""
    if name == "none":
        return NO_CLASS
    if name in names:
        return names.index(name)
    if name.lstrip("-").isdigit():
        if 0 <= int(name) < len(names):
            return int(name)
        raise UserError(f"{name} is out of range: known are 0 to {len(names) - 1}")
    raise UserError(f"{name!r} is unknown: known are {', '.join(names)}{nearest(name, names)}")
