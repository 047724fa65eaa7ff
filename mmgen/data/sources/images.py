"""Images held in memory as bytes, and images with their mirror images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.data.sources.base import Batch, Samples


@dataclass(frozen=True, eq=False)
class StoredImages(Samples):
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


class MirroredSamples(Samples):
    """Images, and after them all of them mirrored left to right: sample -1 - i is the mirror image of sample i.

    Args:
        samples: the images.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return 2 * len(self.samples)

    def take(self, index: Tensor) -> Batch:
        batch = self.samples.take(index % len(self.samples))
        mirrored = index >= len(self.samples)
        x = torch.where(mirrored.view(-1, 1, 1, 1), batch["x"].flip(-1), batch["x"])
        return batch | {"x": x, "sample": torch.where(mirrored, -1 - batch["sample"], batch["sample"])}
