"""JPEG and WebP on the images that a tokenizer is measured on, at the bits that its tokens take.

A small image's JPEG is mostly header, more bits than a tokenizer spends on the whole image. So images are coded as
mosaics, which share the header and the codec's tables. Each image is first continued to a multiple of 16 pixels by
repeating its edge, as JPEG itself does, so that no block of pixels holds two images.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.evaluation.command import Metric

Codec = Literal["jpeg", "webp"]

BLOCK = 16
"""Pixels: the largest unit that either codec treats as one, with colour at half the resolution."""

SIDE = 4096
"""Pixels a side of a mosaic, about; WebP allows 16383."""

PROTOCOL = (
    f"images coded as mosaics of up to {SIDE} pixels a side, each continued to a multiple of {BLOCK} pixels, headers"
    " counted; the highest quality within the tokenizer's bits, or the lowest where none is; jpeg progressive with"
    " optimised tables and the better of 4:2:0 and 4:4:4, webp lossy with method 6"
)

# Settings besides the quality.
_VARIANTS: dict[Codec, list[dict[str, Any]]] = {
    "jpeg": [
        {"format": "JPEG", "optimize": True, "progressive": True, "subsampling": subsampling}
        for subsampling in ("4:2:0", "4:4:4")
    ],
    "webp": [{"format": "WEBP", "lossless": False, "method": 6}],
}


@dataclass(frozen=True)
class Coded:
    """What a codec made of the images."""

    psnr_db: float  # of the mean squared error over all pixels; infinite where nothing was lost
    bits_per_image: float  # of the files, with their headers
    quality: int  # the codec's setting, 0 to 100


def code_at(codec: Codec, pixels: Tensor, bits_per_image: float) -> Coded:
    """Images (N, 1 or 3, H, W) uint8 at the highest quality that takes no more bits; at the lowest one where that takes
    more already.
    """
    results = [_best(variant, pixels, bits_per_image) for variant in _VARIANTS[codec]]
    fitting = [each for each in results if each.bits_per_image <= bits_per_image]
    if fitting:
        return max(fitting, key=lambda each: each.psnr_db)
    return min(results, key=lambda each: each.bits_per_image)


def codec_metrics(pixels: Tensor, bits_per_image: float, progress: Progress | None = None) -> list[Metric]:
    """`psnr_db` and `bits_per_image` of both codecs, on images (N, 1 or 3, H, W) uint8 at the tokenizer's bits. Raises
    UserError for a continuous tokenizer, which has none, or samples that are no images.
    """
    if not math.isfinite(bits_per_image):
        raise UserError("--codecs compares at equal bits, and a continuous tokenizer's tokens have none; leave it out")
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise UserError(f"--codecs is for images (1 or 3, H, W), and these samples are {tuple(pixels.shape[1:])}")
    metrics = []
    for done, codec in enumerate(_VARIANTS, 1):
        coded = code_at(codec, pixels, bits_per_image)
        metrics.append(Metric(f"psnr_db_{codec}", coded.psnr_db))
        metrics.append(Metric(f"bits_per_image_{codec}", coded.bits_per_image))
        if progress is not None:
            progress(done)
    return metrics


def _best(variant: dict[str, Any], pixels: Tensor, bits_per_image: float) -> Coded:
    """Bisection: a higher quality takes more bits."""
    below, above = 0, 101
    while above - below > 1:
        middle = (below + above) // 2
        size = sum(8 * len(_encoded(variant, mosaic, middle)) for _, mosaic in _mosaics(pixels))
        if size <= bits_per_image * len(pixels):
            below = middle
        else:
            above = middle
    return _coded(variant, pixels, below)


def _coded(variant: dict[str, Any], pixels: Tensor, quality: int) -> Coded:
    bits, squares = 0, 0.0
    for tiles, mosaic in _mosaics(pixels):
        file = _encoded(variant, mosaic, quality)
        bits += 8 * len(file)
        with Image.open(io.BytesIO(file)) as opened:
            decoded = _cut(torch.from_numpy(np.array(opened.convert(mosaic.mode))), tiles)
        squares += (decoded.double() - tiles.double()).square().sum().item()
    error = squares / pixels.numel()
    return Coded(10 * math.log10(255**2 / error) if error else math.inf, bits / len(pixels), quality)


def _encoded(variant: dict[str, Any], mosaic: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    mosaic.save(file, quality=quality, **variant)
    return file.getvalue()


def _mosaics(pixels: Tensor) -> Iterable[tuple[Tensor, Image.Image]]:
    """Some of the images (n, C, H, W), and the picture of all of them; of the last, as many as there are."""
    height, width = (_padded(side) for side in pixels.shape[-2:])
    rows, columns = max(1, SIDE // height), max(1, SIDE // width)
    for tiles in pixels.split(rows * columns):
        across = min(columns, math.ceil(math.sqrt(len(tiles) * height / width)))
        down = -(-len(tiles) // across)
        padding = (0, width - tiles.shape[-1], 0, height - tiles.shape[-2])
        whole = F.pad(tiles.float(), padding, mode="replicate").to(torch.uint8)
        empty = whole[-1:].expand(down * across - len(tiles), -1, -1, -1)  # the last one again, where nothing is left
        sheet = rearrange(torch.cat([whole, empty]), "(r c) ch h w -> (r h) (c w) ch", c=across).numpy()
        yield tiles, Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)


def _cut(sheet: Tensor, tiles: Tensor) -> Tensor:
    """The images of a decoded mosaic (H', W') or (H', W', C)."""
    height, width = (_padded(side) for side in tiles.shape[-2:])
    cut = rearrange(sheet.view(*sheet.shape[:2], -1), "(r h) (c w) ch -> (r c) ch h w", h=height, w=width)
    return cut[: len(tiles), :, : tiles.shape[-2], : tiles.shape[-1]]


def _padded(side: int) -> int:
    return -(-side // BLOCK) * BLOCK
