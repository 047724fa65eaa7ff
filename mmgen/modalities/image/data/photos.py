"""The data module of crops of photographs."""

from pathlib import Path
from typing import Any

from mmgen.data.base import DataModule
from mmgen.modalities.image.sources.photos import PhotosSource


class Photos(DataModule):
    """Square crops of scikit-image's photographs (`PhotosSource`), random in training.

    Args:
        image_size: side of a crop, in pixels; no photograph may be smaller.
        samples: random crops that count as one epoch.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and their crops.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for images only.
        num_workers: loading processes a device; changes no batch.
        folder: photographs of your own, in place of scikit-image's; every fourth file is held out.
    """

    def __init__(
        self,
        image_size: int = 64,
        samples: int = 2048,
        global_batch_size: int = 64,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
        folder: str | None = None,
    ) -> None:
        super().__init__(PhotosSource(image_size, samples, folder), global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few pictures as `folder` wants them; returns the arguments that read them."""
        return PhotosSource.make_fake(path, samples)
