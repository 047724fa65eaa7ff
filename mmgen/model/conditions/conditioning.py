"""What conditions contribute to the rows of a batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.layout import Layout


class Entry(NamedTuple):
    """How one condition enters B rows; None where it does not.

    Attributes:
        prefix: (B, P, dim) positions at the start of the row.
        vector: (B, dim), for the modulation.
        frames: (B, F, dim), added to all positions of a frame.
        memory: (B, K, dim), for the cross-attention of the blocks.
        memory_mask: (B, K) bool, False for padding of the memory.
    """

    prefix: Tensor | None = None
    vector: Tensor | None = None
    frames: Tensor | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None


class Conditioning(NamedTuple):
    """All conditions of B rows together.

    Attributes:
        prefix: (B, P, dim) positions at the start of the row; P may be 0.
        vector: (B, dim), for the modulation.
        frames: (B, F, dim), added to all positions of a frame, later ones have nothing; None for none.
        memory: (B, K, dim), for the cross-attention of the blocks; None for none.
        memory_mask: (B, K) bool, False for padding; None without a memory.
    """

    prefix: Tensor
    vector: Tensor
    frames: Tensor | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None

    @classmethod
    def of(cls, entries: Sequence[Entry], start: Tensor) -> "Conditioning":
        """Prefixes and memories one after the other; vectors and frames are summed.

        Args:
            entries: of each condition.
            start: (B, 0 or 1, dim), what stands in front of all prefixes.
        """
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

    def at(self, layout: Layout) -> Tensor:
        """`frames` for the positions of a layout, (B, N, dim); 0 for those in no frame (prefixes)."""
        assert self.frames is not None
        padded = F.pad(self.frames, (0, 0, 0, 1))
        count = self.frames.shape[1]
        frame = torch.where(layout.frame < 0, count, layout.frame).clamp_max(count)
        if layout.batch == 1:
            return padded[:, frame[0]]
        return padded.gather(1, frame[..., None].expand(-1, -1, padded.shape[-1]))
