"""Images held in memory as bytes, and images with their mirror images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.data.sources.base import Batch, Samples
from mmgen.data.sources.captions import Captions


@dataclass(frozen=True, eq=False)
class StoredImages(Samples):
    """Images in memory, one byte a value, handed out as floats in [-1, 1].

    Args:
        pixels: (n, C, H, W) uint8.
        labels: (n,) int64.
        numbers: (n,) int64 numbers in the whole data set.
        captions: of each; None where they have none.
    """

    pixels: Tensor
    labels: Tensor
    numbers: Tensor
    captions: Captions | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: Tensor) -> Batch:
        return self._batch(index, None)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        return self._batch(index, Draws(seed, self.numbers[index], epoch))

    def _batch(self, index: Tensor, draws: Draws | None) -> Batch:
        x = self.pixels[index].float() / 127.5 - 1
        batch = {"x": x, "label": self.labels[index], "sample": self.numbers[index]}
        return batch if self.captions is None else batch | {"caption": self.captions.pick(index, draws)}


class MirroredSamples(Samples):
    """Images, and after them all of them mirrored left to right: sample -1 - i is the mirror image of sample i.

    Args:
        samples: the images.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return 2 * len(self.samples)

    @property
    def captions(self) -> Captions | None:
        """A mirror image has the captions of its image."""
        captions = self.samples.captions
        return None if captions is None else captions + captions

    def take(self, index: Tensor) -> Batch:
        batch = self.samples.take(index % len(self.samples))
        mirrored = index >= len(self.samples)
        x = torch.where(mirrored.view(-1, 1, 1, 1), batch["x"].flip(-1), batch["x"])
        return batch | {"x": x, "sample": torch.where(mirrored, -1 - batch["sample"], batch["sample"])}
