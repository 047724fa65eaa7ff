"""Pixels of image files in any mode, brought to 8 bits in sRGB, on white."""

import io
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""Mode -> the colour space of profiles that fit it."""

_ROUNDING = 2  # steps of 256 that two ways of computing the same colours differ by
_GAMMAS = (0.1, 5.0)  # of files: beyond them it is a mistake
_GAMMA_OF_SRGB = 1 / 2.2
_BAND = 2**20  # pixels converted at a time, so that a large image is in memory twice at most


class Profile(NamedTuple):
    """How the colours of a file become sRGB.

    Attributes:
        source: mode of the pixels that it reads.
        transform: littleCMS's, to RGB.
    """

    source: str
    transform: Any

    def apply(self, image: Image.Image) -> Image.Image:
        """An image of mode L, RGB, CMYK or LAB as RGB."""
        result = ImageCms.applyTransform(as_mode(image, self.source), self.transform)
        assert result is not None  # as it is where the image is not changed in place
        return result


def base_mode(mode: str) -> str:
    """The mode of the colours of an image, without its transparency or palette."""
    if mode in ("CMYK", "LAB"):
        return mode
    return "L" if mode in ("1", "L", "LA", "La") or mode.startswith("I") else "RGB"


@lru_cache(maxsize=32)
def find_profile(icc: bytes, mode: str) -> Profile | None:
    """By which pixels of a base mode with this ICC profile become sRGB; None where they are sRGB already.

    Raises:
        ValueError: the profile cannot be read, or is for another mode.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = profile.profile.xcolor_space.strip()
        source = "RGB" if (mode, space) == ("L", "RGB") else mode
        if _SPACES[source] != space:
            raise ValueError(f"the colour profile is for {space}, not {mode}")
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), source, "RGB")
        own = Profile(source, transform)
        if source in ("L", "RGB"):
            probe = _probe(source)
            same = np.asarray(as_mode(probe, "RGB"), int) - np.asarray(own.apply(probe), int)
            return None if np.abs(same).max() <= _ROUNDING else own
        return own
    except (ImageCms.PyCMSError, OSError, TypeError, AttributeError) as error:
        raise ValueError(f"the colour profile cannot be read ({error})") from None


@lru_cache(maxsize=1)
def lab_profile() -> Profile:
    """By which LAB pixels become sRGB."""
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return Profile("LAB", ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))


def _probe(mode: str) -> Image.Image:
    """Colours that show whether a profile changes any."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3))


def gamma_table(gamma: float | None) -> list[int] | None:
    """256 bytes, of sRGB for those of a PNG file with this `gAMA`; None where they are as good as the same."""
    if gamma is None or not _GAMMAS[0] < gamma < _GAMMAS[1] or abs(gamma / _GAMMA_OF_SRGB - 1) < 0.1:
        return None
    light = (np.arange(256) / 255) ** (1 / gamma)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (curve * 255).round().astype(int).tolist()


def reduce_bits(image: Image.Image, white: int) -> Image.Image:
    """Grey of 16 or 32 bits, of mode I, whose white has this value, in 8 bits; with transparency where the file names
    a grey that is transparent.

    Raises:
        ValueError: a pixel is negative or whiter than white.
    """
    wide = np.asarray(image)
    if wide.min() < 0 or wide.max() > white:
        raise ValueError(f"its pixels are {wide.min()} to {wide.max()}, and white is {white}")
    clear = image.info.get("transparency")
    result = np.empty((*wide.shape, 2 if isinstance(clear, int) else 1), np.uint8)
    for row, grey in zip(result, wide):
        row[:, 0] = grey >> 8 if white == 65535 else (grey.astype(np.int64) * 255 + white // 2) // white
        row[:, 1:] = np.where(grey == clear, 0, 255)[:, None]
    return Image.fromarray(result if isinstance(clear, int) else result[..., 0])


def to_srgb(image: Image.Image, mode: str, profile: Profile | None, table: list[int] | None) -> Image.Image:
    """An image of 8 bits in sRGB, of mode L or RGB; what is transparent lies on white.

    Args:
        image: of any mode of 8 bits.
        mode: of the result.
        profile: how its colours become sRGB, if they are not.
        table: the same of its bytes, where it has no profile.
    """
    rows = max(1, _BAND // image.width)
    if image.height <= rows:
        return _band_to_srgb(image, mode, profile, table)
    whole = Image.new(mode, image.size)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        whole.paste(_band_to_srgb(band, mode, profile, table), (0, top))
    return whole


def _band_to_srgb(image: Image.Image, mode: str, profile: Profile | None, table: list[int] | None) -> Image.Image:
    alpha = None
    if image.has_transparency_data:
        image = as_mode(image, "RGBA")
        alpha = image.getchannel("A")
    if profile is not None or table is not None:
        image = as_mode(image, "RGB" if image.mode == "RGBA" else base_mode(image.mode))
        if profile is not None:
            image = profile.apply(image)
        elif table is not None:
            image = image.point(table * len(image.getbands()))
    if alpha is not None:
        image = as_mode(image, "RGBA")
        image.putalpha(alpha)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return as_mode(image, mode)


def as_mode(image: Image.Image, mode: str) -> Image.Image:
    """An image converted to a mode, or itself where it has that."""
    return image if image.mode == mode else image.convert(mode)
