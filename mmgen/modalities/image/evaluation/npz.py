"""`samples.npz` as ADM's evaluator reads it (Dhariwal & Nichol 2021): `arr_0` the images, `arr_1` their classes."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.arrays import read_arrays
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.stored import StoredImages
from mmgen.evaluation.reference import Reference
from mmgen.media.folders import whole_file

_HIGHEST = 2**20  # number of a class: figures are counted for each


def write_npz(file: str | Path, pixels: Tensor, labels: Tensor | None = None) -> Path:
    """Write images (N, 1 or 3, H, W) uint8 as colour, and their classes (N,) int64 if all have one. Raises UserError
    where the file exists or cannot be written.
    """
    arrays = [rearrange(pixels.expand(-1, 3, -1, -1), "n c h w -> n h w c").numpy()]
    if labels is not None and bool((labels != NO_CLASS).all()):
        arrays.append(labels.numpy())
    if Path(file).exists():
        raise UserError(f"{file} exists, and nothing is overwritten; choose another")
    try:
        with whole_file(file) as opened:
            np.savez(opened, *arrays)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from None
    return Path(file)


def read_npz(file: str | Path, shape: tuple[int, ...] | None = None) -> StoredImages:
    """The images of such a file or of ADM's reference batches, with their classes, -1 for none. They have one channel
    where all are grey and `shape` (C, H, W) allows it. Raises UserError for a missing or damaged file, or other shapes.
    """
    file = Path(file)
    arrays = read_arrays(file, ["arr_0"], optional=["arr_1"])
    images, labels = arrays["arr_0"], arrays.get("arr_1")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise UserError(f"{file}: arr_0 must be images, uint8 (N, H, W, 3), and is {images.dtype} {images.shape}")
    if labels is not None and (labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer)):
        raise UserError(f"{file}: arr_1 must be {len(images)} classes, and is {labels.dtype} {labels.shape}")
    if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) <= _HIGHEST:
        raise UserError(f"{file}: arr_1 must be classes, 0 to {_HIGHEST:,}, and is {labels.min()} to {labels.max()}")
    pixels = rearrange(torch.from_numpy(images), "n h w c -> n c h w")
    if (shape is None or shape[0] == 1) and bool((pixels == pixels[:, :1]).all()):
        pixels = pixels[:, :1]
    if shape is not None and tuple(pixels.shape[1:]) != tuple(shape):
        raise UserError(f"{file} holds images of shape {tuple(pixels.shape[1:])}, and {tuple(shape)} is needed here")
    classes = torch.full((len(images),), NO_CLASS) if labels is None else torch.from_numpy(labels.astype(np.int64))
    return StoredImages(pixels.contiguous(), classes, torch.arange(len(images)))


def read_reference(file: str | Path, shape: tuple[int, ...] | None = None) -> Reference:
    """A file such as ADM's reference batches, as the real images. Raises UserError as `read_npz` does."""
    samples = read_npz(file, shape)
    size, classes = tuple(samples.values.shape[1:]), int(samples.labels.max()) + 1
    return Reference(samples, Path(file).name, "", "as the file has them", size, classes)
