"""Odd images: no tag hides an orientation or changes a pixel, and what looking through says, reading gives."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.media.image_file import open_image, read_header
from tests.fuzz.mutation import fuzz, mutated, refused
from tests.media.image_bytes import (
    QUADRANTS,
    Tag,
    cmyk_icc_profile,
    encode,
    exif_block,
    grey_icc_profile,
    icc_profile,
    jpeg_with,
    png_with,
    upright,
)

_ORIENTATION = 0x0112
_NUMBERS = [0x0100, 0x0101, 0x010F, 0x011A, 0x0128, 0x0132, 0x02BC, 0x8298, 0x8769, 0x8773, 0x8825, 0x9204, 0x927C,
            0xA005, 0xFFFF]  # fmt: skip
_FORMATS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i", 11: "f", 12: "d"}

TAGS = st.tuples(
    st.one_of(st.sampled_from(_NUMBERS), st.integers(0, 0xFFFF)).filter(lambda number: number != _ORIENTATION),
    st.integers(0, 14),
    st.one_of(st.integers(0, 5), st.sampled_from([255, 2**16, 2**31, 2**32 - 1])),
    st.binary(max_size=12),
)


def orientation_tag(kind: int, value: int) -> Tag:
    """The orientation as a number of some type, or as text."""
    if kind == 2:
        return _ORIENTATION, 2, 2, b"%d\0" % value
    return _ORIENTATION, kind, 1, struct.pack("<" + _FORMATS[kind], value)


def assert_upright(path: Path, orientation: int) -> None:
    header, image = read_header(path, 3), open_image(path, 3)
    expected = upright(QUADRANTS, orientation).astype(int)
    assert header.size == expected.shape[:2]
    assert np.abs(np.asarray(image) - expected).max() <= 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exif")


@fuzz(150)
@given(
    tags=st.lists(TAGS, max_size=5),
    orientation=st.integers(1, 8),
    kind=st.sampled_from([2, *_FORMATS]),
    at=st.integers(0, 5),
    late=st.booleans(),
)
def test_an_orientation_among_odd_tags(
    tags: list[Tag], orientation: int, kind: int, at: int, late: bool, place: Path
) -> None:
    tags.insert(at, orientation_tag(kind, orientation))
    exif = exif_block(*tags)
    (place / "x").write_bytes(png_with((b"eXIf", exif)) if late else jpeg_with(exif))
    assert_upright(place / "x", orientation)


SOUND = exif_block((0x010F, 2, 6, b"maker\0"), orientation_tag(3, 6), (0x8769, 4, 1, struct.pack("<I", 8)))


@fuzz(150)
@given(exif=mutated(SOUND, head=60), form=st.sampled_from(["JPEG", "PNG", "early PNG", "WEBP"]))
def test_damaged_tags_change_no_pixel(exif: bytes, form: str, place: Path) -> None:
    """Whatever they say, the image is one of its eight turns, and the header knows which."""
    if form == "JPEG":
        content = jpeg_with(exif)
    elif form == "PNG":
        content = png_with((b"eXIf", exif))
    else:
        options = {"lossless": True} if form == "WEBP" else {}
        content = encode(QUADRANTS, form.split()[-1], exif=b"Exif\0\0" + exif, **options)
    (place / "y").write_bytes(content)
    header, image = read_header(place / "y", 3), open_image(place / "y", 3)
    assert header.size == (image.height, image.width)
    turns = [upright(QUADRANTS, orientation).astype(int) for orientation in range(1, 9)]
    same = [turn for turn in turns if turn.shape == (*header.size, 3)]
    assert min(np.abs(np.asarray(image) - turn).mean() for turn in same) < 4


PROFILES = [
    (icc_profile(1.8, ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))), "RGB"),
    (grey_icc_profile(1.0), "L"),
    (cmyk_icc_profile((138, 209, 198)), "CMYK"),
]


@fuzz(60)
@given(
    data=st.sampled_from(PROFILES).flatmap(lambda each: st.tuples(mutated(each[0], 600), st.just(each[1]))),
    form=st.sampled_from(["JPEG", "TIFF"]),
)
def test_damaged_colour_profiles_leave_an_image(data: tuple[bytes, str], form: str, place: Path) -> None:
    profile, mode = data
    (place / "p").write_bytes(encode(Image.new(mode, (6, 4)), form, icc_profile=profile))
    header, image = read_header(place / "p", 3), open_image(place / "p", 3)
    assert header.size == (image.height, image.width) == (4, 6)
    changed = {each for each in header.conversions if "profile" in each}
    assert len(changed) <= 1


FILES = {
    form: encode(QUADRANTS, form) for form in ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TGA", "WEBP")
}
FILES["TIFF"] = encode(QUADRANTS, "TIFF", tiffinfo={_ORIENTATION: 6, 0x010F: "maker", 281: 255})
FILES["AVIF"] = encode(QUADRANTS, "AVIF", speed=10)
SAMPLED = {"GIF", "JPEG", "PNG", "WEBP"}
"""Of whose files looking through decodes only those without an end."""


@fuzz(200)
@given(
    data=st.sampled_from(sorted(FILES)).flatmap(lambda form: st.tuples(st.just(form), mutated(FILES[form], 100))),
    channels=st.sampled_from([1, 3]),
)
def test_what_looking_through_says_reading_gives(data: tuple[str, bytes], channels: int, place: Path) -> None:
    form, content = data
    path = place / f"z.{form.lower()}"
    path.write_bytes(content)
    sizes = []

    def look() -> None:
        sizes.append(read_header(path, channels).size)

    def read() -> None:
        image = open_image(path, channels)
        sizes.append((image.height, image.width))

    looked, opened = refused(look, UserError), refused(read, UserError)
    assert looked == opened or (form in SAMPLED and opened)
    assert len(set(sizes)) <= 1
