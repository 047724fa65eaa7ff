"""Images as tensors, floats in [-1, 1], as Pillow's, and written to files: PNG, GIF and WebP."""

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageFont
from torch import Tensor

from mmgen.core.errors import require
from mmgen.media.folders import write_whole

_MODES = {1: "L", 3: "RGB"}


def to_uint8(x: Tensor) -> Tensor:
    """Floats in [-1, 1], any shape, to bytes on the CPU, clipped: the exact inverse of `pixel / 127.5 - 1`."""
    return ((x.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_pil(x: Tensor) -> Image.Image:
    """(C, H, W) in [-1, 1] with 1 (grey) or 3 (RGB) channels to a Pillow image."""
    if x.ndim != 3 or len(x) not in _MODES:
        raise ValueError(f"an image is (1 or 3, H, W), not {tuple(x.shape)}")
    pixels = rearrange(to_uint8(x), "c h w -> h w c").numpy()
    return Image.fromarray(pixels[..., 0] if len(x) == 1 else pixels)


def enlarge(x: Tensor, times: int) -> Tensor:
    """(..., H, W) to (..., times * H, times * W), each pixel a square, so that small images can be looked at."""
    return x.repeat_interleave(times, -2).repeat_interleave(times, -1)


def comfortable(x: Tensor, pixels: int = 112) -> int:
    """How many times to `enlarge` (..., H, W) so that its height comes near `pixels`; 1 for large images."""
    return max(1, pixels // x.shape[-2])


def grid(images: Tensor, columns: int | None = None, padding: int = 2, background: float = 0.0) -> Tensor:
    """(B, C, H, W) to one (C, H', W') image, row by row.

    Args:
        images: the images, in [-1, 1].
        columns: images a row; by default the square root of B, rounded up.
        padding: pixels around each image.
        background: grey level of padding and empty places, in [-1, 1].
    """
    count = len(images)
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    framed = torch.nn.functional.pad(images, (0, padding, 0, padding), value=background)
    empty = framed.new_full((rows * columns - count, *framed.shape[1:]), background)
    sheet = rearrange(torch.cat([framed, empty]), "(r c) ch h w -> ch (r h) (c w)", c=columns)
    return torch.nn.functional.pad(sheet, (padding, 0, padding, 0), value=background)


def png_bytes(x: Tensor) -> bytes:
    """(C, H, W) in [-1, 1] as the bytes of a PNG file."""
    buffer = io.BytesIO()
    to_pil(x).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def animation_bytes(
    frames: Sequence[Tensor],
    format: Literal["GIF", "WEBP"] = "GIF",
    milliseconds: int | Sequence[int] = 120,
    hold: int = 1500,
) -> bytes:
    """Frames (C, H, W) in [-1, 1] of one shape as the bytes of an endless animation.

    Args:
        frames: at least one.
        format: `GIF` (all viewers) or `WEBP` (lossless here, all colours, smaller).
        milliseconds: duration of every frame but the last, or of each frame.
        hold: duration of the last one, for one number of `milliseconds`.
    """
    first, *rest = [to_pil(frame) for frame in frames]
    durations = [milliseconds] * len(rest) + [hold] if isinstance(milliseconds, int) else list(milliseconds)
    lossless: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    buffer = io.BytesIO()
    first.save(buffer, format=format, save_all=True, append_images=rest, duration=durations, loop=0, **lossless)
    return buffer.getvalue()


def save_png(x: Tensor, path: str | Path) -> None:
    """(C, H, W) in [-1, 1] to a PNG file."""
    write_whole(path, png_bytes(x))


def save_animation(frames: Sequence[Tensor], path: str | Path, milliseconds: int = 120) -> None:
    """Frames (C, H, W) in [-1, 1] to an animated `.gif` or `.webp`, by the suffix of the path."""
    formats: dict[str, Literal["GIF", "WEBP"]] = {".gif": "GIF", ".webp": "WEBP"}
    suffix = Path(path).suffix.lower()
    require(suffix in formats, f"an animation is written as .gif or .webp, not {suffix or 'without a suffix'} ({path})")
    write_whole(path, animation_bytes(frames, formats[suffix], milliseconds))


def from_pil(image: Image.Image) -> Tensor:
    """A Pillow image of mode L or RGB as (C, H, W) floats in [-1, 1]."""
    pixels = torch.from_numpy(np.array(image)).view(image.height, image.width, -1)
    return rearrange(pixels, "h w c -> c h w").float() / 127.5 - 1


def crop(
    image: Image.Image,
    size: tuple[int, int],
    zoom: float = 1.0,
    top: float = 0.5,
    left: float = 0.5,
    mirrored: bool = False,
) -> Tensor:
    """An image of mode L or RGB as (C, H, W) floats in [-1, 1]: scaled until it covers `size` (H, W), and cut to it.

    Args:
        image: the image.
        size: (H, W) of the result.
        zoom: how much larger than needed it is scaled, at least 1.
        top: where the cut lies, 0 at the upper edge and 1 at the lower one.
        left: the same across.
        mirrored: flip it.
    """
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    height, width = size
    tall, wide = round(height * zoom), round(width * zoom)
    if tall * image.width >= wide * image.height:  # in whole numbers, so that neither side ends a pixel short
        scaled = tall, tall * image.width // image.height
    else:
        scaled = wide * image.height // image.width, wide
    whole = F.resize(image, scaled, InterpolationMode.BICUBIC, antialias=True)
    cut = F.crop(whole, round(top * (scaled[0] - height)), round(left * (scaled[1] - width)), height, width)
    return from_pil(F.horizontal_flip(cut) if mirrored else cut)


@lru_cache(maxsize=64)
def load_font(size: float) -> Any:
    """Pillow's own typeface in so many pixels."""
    return ImageFont.load_default(size)


def wrap_text(text: str, font: Any, width: float) -> list[str]:
    """Lines of at most `width` pixels, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def psnr_db(made: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) of reconstructions (B, ...), clamped to x's range [-1, 1]; 100 dB at most."""
    mse = (made.float().clamp(-1, 1) - x.float()).square().flatten(1).mean(1)
    return 10 * (math.log10(4) - mse.clamp_min(4e-10).log10())
