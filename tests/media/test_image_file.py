"""Image files: upright, in sRGB, in bounded memory; what looking through says of a file is what reading gives."""

import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import mmgen
from mmgen.core.errors import UserError
from mmgen.media.image_file import LARGEST, ImageHeader, open_image, read_header
from tests.media.image_bytes import (
    QUADRANTS,
    Tag,
    cmyk_icc_profile,
    encode,
    exif_block,
    grey_icc_profile,
    icc_profile,
    jpeg_with,
    orientation_tag,
    png_chunk,
    png_head,
    png_of,
    png_with,
    tiff_with,
    upright,
    with_orientation,
)

SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))


def read(path: Path, content: bytes = b"", channels: int = 3) -> tuple[ImageHeader, np.ndarray]:
    """The header and the pixels, which agree."""
    if content:
        path.write_bytes(content)
    header, image = read_header(path, channels), open_image(path, channels)
    assert header.size == (image.height, image.width)
    return header, np.asarray(image).astype(int)


def assert_close(pixels: np.ndarray, expected: np.ndarray, most: int = 12) -> None:
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected.astype(int)).max() <= most


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpeg", "png", "early png", "webp", "avif", "tiff", "packed tiff"])
def test_every_format_is_upright_in_header_and_pixels(form: str, orientation: int, tmp_path: Path) -> None:
    _, pixels = read(with_orientation(form, orientation, tmp_path))
    assert_close(pixels, upright(QUADRANTS, orientation), most=40 if form == "avif" else 12)


ODD_TAGS: dict[str, Tag] = {
    "resolution as text": (0x011A, 2, 3, b"72\0"),
    "division by zero": (0x9204, 10, 1, struct.pack("<ii", -1, 0)),
    "negative width": (0x0100, 9, 1, struct.pack("<i", -5)),
    "unit as a float": (0x0128, 12, 1, struct.pack("<d", 2.5)),
    "value beyond the end": (0x010F, 2, 2**31, b"\xff\xff\xff\x7f"),
    "unknown type": (0x0110, 99, 1, b"\0\0\0\0"),
    "maker's note": (0x927C, 7, 40, bytes(range(40))),
    "sub-IFD in itself": (0x8769, 4, 1, struct.pack("<I", 8)),
    "GPS beyond the end": (0x8825, 4, 1, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("tag", ODD_TAGS.values(), ids=ODD_TAGS)
def test_another_tag_that_is_odd_says_nothing_of_the_pixels(tag: Tag, tmp_path: Path) -> None:
    exif = exif_block(*sorted([orientation_tag(6), tag]))
    webp = encode(QUADRANTS, "WEBP", lossless=True, exif=exif)
    contents = [jpeg_with(exif), png_with((b"eXIf", exif)), webp]
    if tag[0] not in (0x0100, 0x010F):  # of TIFF, whose pixels are found by its tags
        contents.append(tiff_with(orientation_tag(6), tag))
    for content in contents:
        _, pixels = read(tmp_path / "x", content)
        assert_close(pixels, upright(QUADRANTS, 6))


def test_another_tag_that_is_odd_says_nothing_of_the_pixels_of_an_avif(tmp_path: Path) -> None:
    """Which is turned by a box of its own."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    whole = encode(QUADRANTS, "AVIF", exif=exif, quality=95, subsampling="4:4:4")
    odd = re.sub(rb"\x01\x1a\x00\x05|\x1a\x01\x05\x00", lambda found: found[0].replace(b"\5", b"\2"), whole)  # a text
    assert odd != whole
    _, pixels = read(tmp_path / "x", odd)
    assert_close(pixels, upright(QUADRANTS, 6), most=40)


def test_an_orientation_in_a_text_of_a_png_counts(tmp_path: Path) -> None:
    """As ImageMagick writes EXIF, and as XMP has it; a PNG may have either before its pixels or after them."""
    raw = exif_block(orientation_tag(6)).hex().encode()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for chunk in (
        (b"tEXt", b"Raw profile type exif\0\nexif\n      26\n" + raw),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n      26\n" + raw)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    ):
        late = png_with(chunk)
        early = late[:33] + png_chunk(*chunk) + encode(QUADRANTS, "PNG")[33:]
        for content in (late, early):
            _, pixels = read(tmp_path / "x", content)
            assert np.array_equal(pixels, upright(QUADRANTS, 6))


@pytest.mark.parametrize(
    "tag",
    [
        (0x0112, 2, 2, b"6\0"),
        (0x0112, 4, 1, struct.pack("<I", 6)),
        (0x0112, 1, 1, b"\6"),
        (0x0112, 3, 2, struct.pack("<HH", 6, 1)),
        (0x0112, 12, 1, struct.pack("<d", 6.0)),
        (0x0112, 5, 1, struct.pack("<II", 6, 1)),
    ],
    ids=["text", "long", "byte", "two", "float", "fraction"],
)
def test_an_orientation_of_another_type_counts(tag: Tag, tmp_path: Path) -> None:
    _, pixels = read(tmp_path / "x", jpeg_with(exif_block(tag)))
    assert_close(pixels, upright(QUADRANTS, 6))


@pytest.mark.parametrize(
    "tag",
    [orientation_tag(0), orientation_tag(9), (0x0112, 2, 3, b"up\0"), (0x0112, 5, 1, struct.pack("<II", 6, 0))],
    ids=["zero", "nine", "word", "division by zero"],
)
def test_an_orientation_that_is_none_turns_nothing(tag: Tag, tmp_path: Path) -> None:
    _, pixels = read(tmp_path / "x", jpeg_with(exif_block(tag)))
    assert_close(pixels, QUADRANTS)


def test_tags_that_cannot_be_read_at_all_are_left_out_and_reported(tmp_path: Path) -> None:
    header, pixels = read(tmp_path / "x", jpeg_with(b"no tags"))
    assert_close(pixels, QUADRANTS)
    assert header.conversions == ("tags that cannot be read left out",)


def test_an_odd_index_of_further_images_is_left_out(tmp_path: Path) -> None:
    """A camera's Multi-Picture Format, whose index has no number of images."""
    index = b"MPF\0" + exif_block((0xB000, 7, 4, b"0100"), (0xB002, 7, 3, b"abc"))
    whole = jpeg_with(exif_block(orientation_tag(8)))
    _, pixels = read(
        tmp_path / "x.jpg", whole[:2] + b"\xff\xe2" + struct.pack(">H", len(index) + 2) + index + whole[2:]
    )
    assert_close(pixels, upright(QUADRANTS, 8))


def test_display_p3_and_linear_colours_become_srgb(tmp_path: Path) -> None:
    for colour, profile, expected in (
        ((200, 60, 40), icc_profile(2.2, DISPLAY_P3), (220, 37, 12)),
        ((64, 64, 64), icc_profile(1.0, SRGB), (137, 137, 137)),
    ):
        image = Image.new("RGB", (40, 30), colour)
        for form in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF"):
            options = {"lossless": True} if form == "WEBP" else {}
            header, pixels = read(tmp_path / "x", encode(image, form, icc_profile=profile, **options))
            assert_close(pixels, np.broadcast_to(expected, (30, 40, 3)), most=4)
            assert header.conversions == ("colour profile turned to sRGB",)


def test_transparent_palettes_with_a_profile_become_srgb_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 2), (64, 64, 64, 255))
    image.putpixel((0, 0), (64, 64, 64, 0))
    for each in (image, image.quantize(4)):
        header, pixels = read(tmp_path / "x", encode(each, "PNG", icc_profile=icc_profile(1.0, SRGB)))
        assert_close(pixels[0, :2], np.array([[255] * 3, [137] * 3]), most=1)
        assert {"colour profile turned to sRGB", "transparency laid on white"} <= set(header.conversions)


def test_a_profile_of_srgb_changes_nothing_and_one_that_does_not_fit_is_reported(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    header, pixels = read(tmp_path / "x", encode(noise, "PNG", icc_profile=srgb))
    assert not header.conversions
    assert np.array_equal(pixels, noise)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"nonsense", srgb[:200], lab):
        header, pixels = read(tmp_path / "x", encode(noise, "PNG", icc_profile=profile))
        assert header.conversions == ("colour profile that does not fit left out",)
        assert np.array_equal(pixels, noise)


def test_a_profile_of_several_mib_is_read(tmp_path: Path) -> None:
    profile = icc_profile(1.0, SRGB) + bytes(2**22)
    profile = struct.pack(">I", len(profile)) + profile[4:]
    _, pixels = read(tmp_path / "x", encode(Image.new("RGB", (2, 2), (64, 64, 64)), "PNG", icc_profile=profile))
    assert pixels[0, 0].tolist() == [137] * 3


def test_a_profile_of_colour_in_a_grey_image_counts(tmp_path: Path) -> None:
    content = encode(Image.new("L", (4, 4), 64), "PNG", icc_profile=icc_profile(1.0, SRGB))
    _, pixels = read(tmp_path / "x", content, channels=1)
    assert_close(pixels, np.full((4, 4), 137), most=1)


def test_a_profile_of_grey_counts(tmp_path: Path) -> None:
    content = encode(Image.new("L", (4, 4), 64), "PNG", icc_profile=grey_icc_profile(1.0))
    for channels in (1, 3):
        header, pixels = read(tmp_path / "x", content, channels)
        assert np.abs(pixels - 137).max() <= 1
        assert "colour profile turned to sRGB" in header.conversions


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_becomes_what_its_profile_says(form: str, tmp_path: Path) -> None:
    """Inks that are all of a red of Lab 53, 80, 67, which is sRGB's own."""
    profile = cmyk_icc_profile((136, 208, 195))
    for ink, expected in (((255, 0, 0, 0), (255, 0, 0)), ((0, 0, 0, 0), (255, 255, 255))):
        image = Image.new("CMYK", (8, 8), ink)
        header, pixels = read(tmp_path / "x", encode(image, form, icc_profile=profile))
        assert_close(pixels, np.broadcast_to(expected, (8, 8, 3)), most=8)
        assert {"CMYK turned to RGB", "colour profile turned to sRGB"} == set(header.conversions)


def test_cmyk_without_a_profile_and_lab_become_colour(tmp_path: Path) -> None:
    lab = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (138, 209, 198)])
    header, pixels = read(tmp_path / "x", encode(lab, "TIFF"))
    assert_close(pixels, np.broadcast_to((255, 0, 0), (4, 4, 3)), most=8)
    assert header.conversions == ("LAB turned to RGB",)
    header, pixels = read(tmp_path / "x", encode(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert header.conversions == ("CMYK turned to RGB",)


def test_the_gamma_of_a_png_counts_where_it_has_no_profile(tmp_path: Path) -> None:
    def png(gamma: float, *more: tuple[bytes, bytes]) -> bytes:
        pixels = zlib.compress(b"\0" + bytes([64] * 6))
        return png_of(png_head(2, 1), (b"gAMA", struct.pack(">I", round(gamma * 100000))), *more, (b"IDAT", pixels))

    header, pixels = read(tmp_path / "x", png(1.0))
    assert pixels[0, 0].tolist() == [137] * 3
    assert header.conversions == ("gamma turned to that of sRGB",)
    for content in (png(0.45455), png(0), png(40), png(1.0, (b"sRGB", b"\0"))):
        header, pixels = read(tmp_path / "x", content)
        assert pixels[0, 0].tolist() == [64] * 3
        assert not header.conversions


def tiff(pixels: np.ndarray, bits: int, kind: int = 1, white: int | None = None) -> bytes:
    """An uncompressed TIFF of one channel."""
    data = pixels.tobytes()
    entries = [(256, 3, pixels.shape[1]), (257, 3, pixels.shape[0]), (258, 3, bits), (259, 3, 1), (262, 3, 1)]
    entries += [(277, 3, 1), (278, 3, pixels.shape[0]), (279, 4, len(data)), (339, 3, kind)]
    if white is not None:
        entries.append((281, 3 if white < 65536 else 4, white))
    entries.append((273, 4, 8 + 2 + 12 * (len(entries) + 1) + 4))
    table = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + b"\0\0\0\0" + data


def test_the_range_that_a_tiff_declares_counts(tmp_path: Path) -> None:
    twelve = np.array([[0, 2048, 4095]], "<u2")
    _, pixels = read(tmp_path / "x", tiff(twelve, 16, white=4095), channels=1)
    assert pixels.tolist() == [[0, 128, 255]]
    _, pixels = read(tmp_path / "x", tiff(np.array([[0, 500, 1000]], "<u4"), 32, white=1000), channels=1)
    assert pixels.tolist() == [[0, 128, 255]]
    packed = np.array([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00], np.uint8)[None]  # 0, 2048, 4095, 0: 12 bits each
    content = tiff(packed, 12).replace(struct.pack("<HHII", 256, 3, 1, 6), struct.pack("<HHII", 256, 3, 1, 4))
    _, pixels = read(tmp_path / "x", content, channels=1)
    assert pixels.tolist() == [[0, 128, 255, 0]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(np.array([[0, 200, 255]], "<u4"), 32), "32 bits a pixel, whose range is unknown"),
        (tiff(np.array([[0, -200, 255]], "<i4"), 32, kind=2), "32 bits a pixel, whose range is unknown"),
        (tiff(np.array([[0, 2048, 4095]], "<u2"), 16), "uses 12 of them at most"),
        (encode(np.array([[0, 2048, 4095]], np.uint16), "PNG"), "uses 12 of them at most"),
        (tiff(np.array([[0, 2000, 3000]], "<u2"), 16, white=1000), "pixels are 0 to 3000, and white is 1000"),
        (
            png_of(png_head(1, 1, bits=16), (b"IDAT", zlib.compress(b"\0" + struct.pack(">3H", 4095, 9, 0)))),
            "uses 12 of them at most",
        ),
    ],
    ids=["32", "signed", "12 in 16", "12 in 16 png", "beyond white", "12 in 16 colour"],
)
def test_what_has_no_known_range_is_refused_by_looking_and_by_reading(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(content)
    for use in (read_header, open_image):
        with pytest.raises(UserError, match=reason):
            use(tmp_path / "x", 1)


def test_sixteen_bits_of_black_and_of_a_transparent_grey_are_read(tmp_path: Path) -> None:
    _, pixels = read(tmp_path / "x", encode(np.zeros((2, 2), np.uint16), "PNG"), channels=1)
    assert pixels.max() == 0
    pixel = zlib.compress(b"\0" + struct.pack(">2H", 40000, 20000))
    content = png_of(png_head(2, 1, 16, 0), (b"tRNS", struct.pack(">H", 40000)), (b"IDAT", pixel))
    header, pixels = read(tmp_path / "x", content, channels=1)
    assert pixels.tolist() == [[255, 20000 >> 8]]
    assert "transparency laid on white" in header.conversions


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "QOI", "TGA"])
def test_a_file_cut_short_is_refused_by_looking_and_by_reading(form: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    path = tmp_path / f"x.{form.lower()}"
    whole = encode(noise, form)
    read(path, whole)
    path.write_bytes(whole[: len(whole) * 6 // 10])
    for use in (read_header, open_image):
        with pytest.raises(UserError, match=r"is a damaged image|is not an image"):
            use(path, 3)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def test_only_the_listed_formats_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*command: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {command}")

    monkeypatch.setattr(subprocess, "Popen", run)
    for content in (POSTSCRIPT, encode(QUADRANTS, "PCX"), encode(QUADRANTS, "PDF"), encode(QUADRANTS, "ICO")):
        (tmp_path / "x.png").write_bytes(content)
        for use in (read_header, open_image):
            with pytest.raises(UserError, match="is not an image, or of a format that is not read"):
                use(tmp_path / "x.png", 3)


def test_image_files_are_opened_in_one_place() -> None:
    """Where the formats are listed; elsewhere only bytes that mmgen has just written."""
    root = Path(mmgen.__file__).parent
    opening = [path.name for path in root.rglob("*.py") if re.search(r"\bImage\.open\(", path.read_text())]
    assert sorted(opening) == ["image_codecs.py", "image_file.py"]


def test_a_tga_is_known_by_its_name_alone(tmp_path: Path) -> None:
    content = encode(QUADRANTS, "TGA")
    _, pixels = read(tmp_path / "x.TGA", content)
    assert np.array_equal(pixels, QUADRANTS)
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UserError, match="is not an image"):
        open_image(tmp_path / "x.png", 3)


BOMBS = {
    "claimed": png_of(png_head(2**16, 2**15), (b"IDAT", zlib.compress(bytes(10)))),
    "PNG": png_of(png_head(2**13 + 1, 2**13), (b"IDAT", zlib.compress(bytes(2**20)))),
    "GIF": b"GIF89a" + struct.pack("<HH3xc4H", 65535, 65535, b",", 0, 0, 9, 9) + b"\0\x02\x02\x4c\x01\0;",
    "strip": png_of(png_head(2**16, 1), (b"IDAT", zlib.compress(bytes(3 * 2**16 + 1)))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_images_beyond_the_limit_are_refused_by_looking_and_by_reading(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BOMBS[name])
    reason = "is a strip" if name == "strip" else f"has more than {LARGEST:,} pixels"
    for use in (read_header, open_image):
        with pytest.raises(UserError, match=reason):
            use(tmp_path / "x", 3)


def test_an_image_is_in_memory_less_than_three_times(tmp_path: Path) -> None:
    """Transparent, turned and with a profile: what needs the most copies. The largest takes 3/4 GiB by that."""
    side = 2**12
    rows = zlib.compress(bytes(side * (4 * side + 1)), 1)
    profile = b"p\0\0" + zlib.compress(icc_profile(1.0, SRGB))
    content = png_of(
        png_head(side, side, kind=6), (b"iCCP", profile), (b"IDAT", rows), (b"eXIf", exif_block(orientation_tag(6)))
    )
    (tmp_path / "x.png").write_bytes(content)
    program = (
        "import resource; from pathlib import Path; from mmgen.media.image_file import open_image, read_header;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10; before = peak();"
        f"path = Path({str(tmp_path / 'x.png')!r}); read_header(path, 3); open_image(path, 3); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 3 * (4 * side**2 >> 20), f"{done.stdout} MiB"
