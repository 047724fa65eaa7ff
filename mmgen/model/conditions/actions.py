"""What leads from frame to frame, as in a game."""

from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import NO_ACTION, FrameNames
from mmgen.model.conditions.base import Condition, Entry


class Actions(Condition):
    """The action that leads to each frame, a vector added to all its positions (Genie, Bruce et al. 2024, section 2.1).

    Args:
        vocabulary: the names of the actions.
        spec: of the tokens.
        dim: width of the backbone.
        enters: `frames`.
        dropout: see `Condition`.
        own_dropout: see `Condition`.
    """

    takes = FrameNames
    entrances = ("frames",)

    def __init__(
        self,
        vocabulary: FrameNames,
        spec: TokenSpec,
        dim: int,
        enters: tuple[Literal["frames"], ...] = ("frames",),
        dropout: float = 0.1,
        own_dropout: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, enters, dropout, own_dropout)
        self.count, self.frames = len(vocabulary.names), spec.grid[0]
        self.table = nn.Embedding(self.count + 1, dim)  # the last row stands for none
        nn.init.normal_(self.table.weight, std=0.5)

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """(B, F) int64."""
        return torch.full((rows, self.frames if frames is None else frames), NO_ACTION)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """values (B, F) int64 in [-1, actions)."""
        frames = self.frames if frames is None else frames
        if values.shape != (rows, frames):
            raise UserError(f"actions must be given for {rows} samples of {frames} frames, got {tuple(values.shape)}")
        wrong = values[(values < NO_ACTION) | (values >= self.count)]
        if len(wrong):
            raise UserError(f"action {int(wrong[0])} is out of range: known are 0 to {self.count - 1}, and -1 for none")

    def frame(self, values: Tensor, rows: int) -> Tensor:
        """values (B,) int64 in [-1, actions)."""
        if values.shape != (rows,) or values.min() < NO_ACTION or values.max() >= self.count:
            raise UserError(f"the actions of a frame must be {rows} whole numbers from -1 to {self.count - 1}")
        return values

    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """values (B, F) int64."""
        return Entry(frames=self.table(torch.where(values < 0, self.count, values)))
