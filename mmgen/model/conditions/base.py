"""What every condition is: values that come with a sample, and what they contribute to the rows of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout, prefix
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Vocabulary
from mmgen.model.backbone.cross_attention import Memory

Entrance = Literal["prefix", "modulation", "frames", "cross_attention"]


class Entry(NamedTuple):
    """How one condition enters B rows; None where it does not."""

    prefix: Tensor | None = None  # (B, P, dim) positions at the start of the row
    vector: Tensor | None = None  # (B, dim), for the modulation
    frames: Tensor | None = None  # (B, F, dim), added to all positions of a frame
    memory: Tensor | None = None  # (B, K, dim), for the cross-attention of the blocks
    memory_mask: Tensor | None = None  # (B, K) bool, False for padding of the memory


class Conditioning(NamedTuple):
    """All conditions of B rows together; see `Entry`."""

    prefix: Tensor
    vector: Tensor
    frames: Tensor | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None

    @classmethod
    def of(cls, entries: Sequence[Entry], start: Tensor) -> "Conditioning":
        """Prefixes and memories one after the other, behind `start` (B, 0 or 1, dim); vectors and frames are summed."""
        prefixes = [start, *(each.prefix for each in entries if each.prefix is not None)]
        vectors = [each.vector for each in entries if each.vector is not None]
        frames = [each.frames for each in entries if each.frames is not None]
        longest = max((each.shape[1] for each in frames), default=0)
        frames = [F.pad(each, (0, 0, 0, longest - each.shape[1])) for each in frames]
        memories = [each.memory for each in entries if each.memory is not None]
        masks = [each.memory_mask for each in entries if each.memory_mask is not None]
        return cls(
            torch.cat(prefixes, dim=1),
            torch.stack(vectors).sum(0) if vectors else start.new_zeros(start.shape[0], start.shape[2]),
            torch.stack(frames).sum(0) if frames else None,
            torch.cat(memories, dim=1) if memories else None,
            torch.cat(masks, dim=1) if masks else None,
        )

    def rows(self, index: Tensor) -> "Conditioning":
        """Of some rows; index (b,) int64 or (B,) bool."""
        return Conditioning(*(None if each is None else each[index] for each in self))  # type: ignore[arg-type]

    def attended(self, dtype: torch.dtype) -> Memory | None:
        """What the blocks of a backbone of this precision attend to."""
        return None if self.memory is None else Memory(self.memory.to(dtype), self.memory_mask)

    def at(self, layout: Layout) -> Tensor:
        """`frames` for the positions of a layout, (B, N, dim); 0 for those in no frame (prefixes)."""
        assert self.frames is not None
        padded = F.pad(self.frames, (0, 0, 0, 1))
        count = self.frames.shape[1]
        frame = torch.where(layout.frame < 0, count, layout.frame).clamp_max(count)
        if layout.batch == 1:
            return padded[:, frame[0]]
        return padded.gather(1, frame[..., None].expand(-1, -1, padded.shape[-1]))


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
        name, brought = type(self).__name__, type(vocabulary).__name__
        require(type(vocabulary) is self.takes, f"{name} reads {self.takes.__name__}, and the data brings {brought}")
        shares = f"dropout and own_dropout are shares from 0 to 1, got {dropout:g} and {own_dropout:g}"
        require(0 <= dropout <= 1 and 0 <= own_dropout <= 1, shares)
        ways = f"{name} enters by {' or '.join(self.entrances)}, got {', '.join(enters) or 'nothing'}"
        require(bool(enters) and set(enters) <= set(self.entrances), ways)
        self.vocabulary, self.enters = vocabulary, tuple(enters)
        self.dropout, self.own_dropout = dropout, own_dropout

    @property
    def layout(self) -> Layout:
        """What its positions at the start of a row are; none by default."""
        return prefix(0)

    @abstractmethod
    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """The values of B rows without this condition, of so many frames, those of training by default, where it has
        them.
        """

    @abstractmethod
    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """Raises UserError for values of another shape than those of `null`, or out of range."""

    def frame(self, values: Tensor, rows: int) -> Tensor:
        """The values (B,) of one frame. Raises UserError where they are others, or there is no value for a frame."""
        raise UserError(f"{type(self).__name__} has no value for each frame, so no function can steer it")

    @abstractmethod
    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """How values of B rows enter; `draws` of training rows are for augmentation."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Values of names or texts, as a person writes them. Raises UserError for others, or where it takes none."""
        raise UserError(f"{type(self).__name__} takes numbers and no texts")

    def drop(self, values: Tensor, dropped: Tensor) -> Tensor:
        """The values of B rows, null where dropped (B,) bool."""
        frames = values.shape[1] if values.dim() > 1 else None
        null = self.null(len(values), frames).to(values)
        return torch.where(dropped.view(-1, *[1] * (values.dim() - 1)), null, values)


ConditionFactory = Callable[[Vocabulary, TokenSpec, int], Condition]
"""What makes a condition of its vocabulary, the tokens and the width of the backbone."""
