"""What every condition is: values that come with a sample, and how they enter the generator."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, prefix
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Vocabulary
from mmgen.model.conditions.conditioning import Entry

Entrance = Literal["prefix", "modulation", "frames", "cross_attention"]


class Condition(nn.Module, ABC):
    """One named condition. A kind takes a vocabulary, the tokens and the width of the backbone as its first three
    arguments, which the generator gives, and owns its null: the values of a row without it.

    Args:
        vocabulary: the values that it can take.
        enters: the ways in which it enters, of those that the kind has.
        dropout: share of the training rows that lose it, for guidance. Equal shares of several conditions are the same
            rows, so that a model learns what it is to have none; of unequal ones the smaller lies within the larger.
        own_dropout: share of the training rows that lose this condition and not the others, for guidance by name.

    Raises:
        UserError: another kind of vocabulary, a share outside [0, 1], or a way in which it cannot enter.
    """

    vocabulary: Vocabulary

    takes: ClassVar[type[Vocabulary]]
    """The kind of vocabulary that it reads."""

    default: ClassVar[bool] = True
    """Whether it is taken for its kind of vocabulary where a recipe chooses none."""

    reads_text: ClassVar[bool] = False
    """Whether `encode` takes texts in words."""

    entrances: ClassVar[tuple[Entrance, ...]]
    """The ways in which it can enter."""

    def __init__(self, vocabulary: Vocabulary, enters: Sequence[Entrance], dropout: float, own_dropout: float) -> None:
        super().__init__()
        if type(vocabulary) is not self.takes:
            raise UserError(
                f"{type(self).__name__} reads {self.takes.__name__}, and the data brings {type(vocabulary).__name__}"
            )
        if not 0 <= dropout <= 1 or not 0 <= own_dropout <= 1:
            raise UserError(f"dropout and own_dropout are shares from 0 to 1, got {dropout:g} and {own_dropout:g}")
        if not enters or not set(enters) <= set(self.entrances):
            raise UserError(
                f"{type(self).__name__} enters by {' or '.join(self.entrances)}, got {', '.join(enters) or 'nothing'}"
            )
        self.vocabulary, self.enters = vocabulary, tuple(enters)
        self.dropout, self.own_dropout = dropout, own_dropout

    @property
    def layout(self) -> Layout:
        """What its positions at the start of a row are; none by default."""
        return prefix(0)

    @abstractmethod
    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """The values of rows without this condition.

        Args:
            rows: B.
            frames: of each row, for conditions that have a value for each; those of training by default.
        """

    @abstractmethod
    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """Raises UserError for values of another shape than those of `null`, or out of range."""

    def frame(self, values: Tensor, rows: int) -> Tensor:
        """The values (B,) of one frame. Raises UserError where they are others, or there is no value for a frame."""
        raise UserError(f"{type(self).__name__} has no value for each frame, so no function can steer it")

    @abstractmethod
    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """How values enter.

        Args:
            values: of B rows, as `null` gives them.
            draws: of training rows, for augmentation; None everywhere else.
        """

    def encode(self, given: Sequence[str]) -> Tensor:
        """Values of names or texts, as a person writes them.

        Raises:
            UserError: it takes none, or not these.
        """
        raise UserError(f"{type(self).__name__} takes numbers and no texts")

    def drop(self, values: Tensor, dropped: Tensor) -> Tensor:
        """The values of B rows, null where dropped (B,) bool."""
        frames = values.shape[1] if values.dim() > 1 else None
        null = self.null(len(values), frames).to(values)
        return torch.where(dropped.view(-1, *[1] * (values.dim() - 1)), null, values)


ConditionFactory = Callable[[Vocabulary, TokenSpec, int], Condition]
"""What makes a condition of its vocabulary, the tokens and the width of the backbone."""
