"""Samples held in memory."""

from dataclasses import dataclass

from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.data.sources.base import Batch, Samples
from mmgen.data.sources.captions import Captions


@dataclass(frozen=True, eq=False)
class StoredSamples(Samples):
    """Samples in memory.

    Args:
        values: (n, ...), in the type in which they are stored.
        labels: (n,) int64.
        numbers: (n,) int64 numbers in the whole data set.
        captions: of each; None where they have none.
    """

    values: Tensor
    labels: Tensor
    numbers: Tensor
    captions: Captions | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Tensor) -> Batch:
        return self._batch(index, None)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        chance = None if self.captions is None else Draws(seed, self.numbers[index], epoch).uniform("caption")
        return self._batch(index, chance)

    def _batch(self, index: Tensor, chance: Tensor | None) -> Batch:
        batch = self.content(index) | {"label": self.labels[index], "sample": self.numbers[index]}
        return batch if self.captions is None else batch | {"caption": self.captions.pick(index, chance)}

    def content(self, index: Tensor) -> Batch:
        """The stored values of the samples at index (b,), as a batch holds them."""
        return {"values": self.values[index]}


class StoredImages(StoredSamples):
    """Images (n, C, H, W) uint8 in memory, handed out as floats in [-1, 1]."""

    def content(self, index: Tensor) -> Batch:
        return {"x": self.values[index].float() / 127.5 - 1}
