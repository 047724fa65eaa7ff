"""A vector for each sample, such as the embedding of a speaker's voice."""

from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, prefix
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Vectors
from mmgen.model.conditions.base import Condition
from mmgen.model.conditions.conditioning import Entry


class Speaker(Condition):
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
    entrances = ("prefix", "modulation")

    def __init__(
        self,
        vocabulary: Vectors,
        spec: TokenSpec,
        dim: int,
        enters: tuple[Literal["prefix", "modulation"], ...] = ("prefix", "modulation"),
        dropout: float = 0.1,
        own_dropout: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, enters, dropout, own_dropout)
        self.size = vocabulary.size
        self.projections = nn.ModuleDict({name: nn.Linear(self.size, dim) for name in enters})
        self.none = nn.Parameter(torch.randn(self.size))

    @property
    def layout(self) -> Layout:
        """One position, or none."""
        return prefix(int("prefix" in self.enters))

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """(B, size) NaN."""
        return torch.full((rows, self.size), torch.nan)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """values (B, size)."""
        if values.shape != (rows, self.size):
            raise UserError(f"{rows} vectors of {self.size} numbers are needed, got shape {tuple(values.shape)}")

    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """values (B, size)."""
        given = torch.where(values.isnan(), self.none, values.to(self.none.dtype))
        entered = {name: project(given) for name, project in self.projections.items()}
        position = entered.get("prefix")
        return Entry(None if position is None else position[:, None], entered.get("modulation"))
