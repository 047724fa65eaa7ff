"""Images held in memory as bytes."""

from dataclasses import dataclass

from torch import Tensor

from mmgen.data.sources.base import Batch, Samples


@dataclass(frozen=True, eq=False)
class ImageSamples(Samples):
    """Images in memory, one byte a value, handed out as floats in [-1, 1].

    Args:
        pixels: (n, C, H, W) uint8.
        labels: (n,) int64.
        numbers: (n,) int64 numbers in the whole data set.
    """

    pixels: Tensor
    labels: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: Tensor) -> Batch:
        x = self.pixels[index].float() / 127.5 - 1
        return {"x": x, "label": self.labels[index], "sample": self.numbers[index]}
