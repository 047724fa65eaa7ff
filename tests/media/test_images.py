import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.media.image_file import read_image
from mmgen.media.images import (
    animation_bytes,
    comfortable,
    enlarge,
    grid,
    save_animation,
    save_png,
    to_uint8,
)

EVERY_BYTE = torch.arange(256).view(1, 16, 16)
PICTURE = torch.linspace(-1, 1, 3 * 20 * 12).view(3, 20, 12)


def test_every_byte_survives_the_way_to_floats_and_back() -> None:
    assert torch.equal(to_uint8(EVERY_BYTE / 127.5 - 1), EVERY_BYTE.to(torch.uint8))


def test_beyond_the_range_values_are_clipped_and_do_not_wrap() -> None:
    assert to_uint8(torch.tensor([-1.7, -1.0, 1.0, 3.0])).tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_png_gives_back_what_was_saved(channels: int, tmp_path: Path) -> None:
    save_png(PICTURE[:channels], tmp_path / "x.png")
    again = read_image(tmp_path / "x.png", (channels, 20, 12))
    assert torch.equal(to_uint8(again), to_uint8(PICTURE[:channels]))
    assert again.dtype == torch.float32


def test_colour_is_read_as_grey_where_grey_is_asked_for(tmp_path: Path) -> None:
    save_png(torch.stack([torch.full((4, 4), value) for value in (1.0, 1.0, 1.0)]), tmp_path / "white.png")
    assert torch.equal(read_image(tmp_path / "white.png", (1, 4, 4)), torch.ones(1, 4, 4))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1000], [40000, 65535]], dtype=np.uint16)).save(tmp_path / "x.png")
    assert to_uint8(read_image(tmp_path / "x.png", (1, 2, 2))).flatten().tolist() == [0, 1000 >> 8, 40000 >> 8, 255]


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), "clear.png", (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 127)), "half.png", (255, 128, 128)),
        (Image.new("LA", (2, 2), (0, 0)), "grey.png", (255, 255, 255)),
        (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "ink.tif", (255, 0, 0)),
        (Image.new("RGB", (2, 2), (255, 0, 0)).convert("P"), "palette.png", (255, 0, 0)),
        (Image.new("1", (2, 2), 1), "bit.png", (255, 255, 255)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_modes_become_colour_and_transparency_lies_on_white(
    image: Image.Image, name: str, expected: tuple[int, int, int], tmp_path: Path
) -> None:
    image.save(tmp_path / name)
    assert tuple(to_uint8(read_image(tmp_path / name, (3, 2, 2)))[:, 0, 0].tolist()) == expected


@pytest.mark.parametrize(
    ("pixels", "reason"), [(np.ones((2, 2), np.float32), "holds floats"), (np.full((2, 2), 70000, np.int32), "32 bits")]
)
def test_what_has_no_known_range_is_refused(pixels: np.ndarray, reason: str, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=f"x.tif .*{reason}.*convert it to 8 or 16 bits"):
        read_image(tmp_path / "x.tif", (1, 2, 2))


def test_grid_places_each_image_row_by_row() -> None:
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 3) / 10
    sheet = grid(images, columns=2, padding=1, background=-1.0)
    assert sheet.shape == (1, 3 * 3 + 1, 2 * 4 + 1)
    assert torch.equal(sheet[0, 1::3, 1::4], torch.tensor([[0.0, 0.1], [0.2, 0.3], [0.4, -1.0]]))
    assert (sheet[0, ::3] == -1).all()


def test_enlarging_repeats_pixels() -> None:
    assert torch.equal(enlarge(torch.tensor([[[1.0, 2.0]]]), 2), torch.tensor([[[1.0, 1, 2, 2], [1, 1, 2, 2]]]))
    assert comfortable(torch.zeros(1, 28, 28)) == 4
    assert comfortable(torch.zeros(3, 256, 256)) == 1


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_an_animation_holds_its_frames_and_their_times(format: str) -> None:
    frames = [torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)]
    with Image.open(io.BytesIO(animation_bytes(frames, format, milliseconds=120, hold=900))) as opened:
        assert opened.n_frames == 3
        greys, times = [], []
        for index in range(3):
            opened.seek(index)
            opened.load()
            greys.append(np.asarray(opened.convert("L"))[0, 0])
            times.append(opened.info["duration"])
    assert greys == [0, 128, 255]
    assert times == [120, 120, 900]


def test_an_animation_needs_a_known_suffix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.gif or \.webp, not \.mp4"):
        save_animation([torch.zeros(1, 2, 2)], tmp_path / "x.mp4")


def test_another_size_is_refused_unless_resized(tmp_path: Path) -> None:
    save_png(PICTURE, tmp_path / "x.png")
    with pytest.raises(UserError, match="is 12x20 pixels, but 8x8 are expected; --resize"):
        read_image(tmp_path / "x.png", (3, 8, 8))
    assert read_image(tmp_path / "x.png", (3, 8, 8), resize=True).shape == (3, 8, 8)


def test_resizing_cuts_evenly_and_does_not_squeeze(tmp_path: Path) -> None:
    """A centred square in a wide image stays a centred square."""
    wide = torch.full((1, 8, 24), -1.0)
    wide[:, 2:6, 10:14] = 1.0
    save_png(wide, tmp_path / "wide.png")
    square = read_image(tmp_path / "wide.png", (1, 8, 8), resize=True)
    assert torch.equal(square, wide[:, :, 8:16])


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    save_png(noise, folder / "whole.png")
    whole = (folder / "whole.png").read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    contents = {
        "text": (b"hello", "is not an image"),
        "empty": (b"", "is not an image"),
        "header": (whole[:20], "is a damaged image"),
        "truncated": (whole[: len(whole) // 2], "is a damaged image: image file is truncated"),
        "flipped": (bytes(flipped), "is a damaged image"),
    }
    for name, (content, _) in contents.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "folder.png").mkdir()
    named = {name: (folder / f"{name}.png", reason) for name, (_, reason) in contents.items()}
    return named | {
        "missing": (folder / "nowhere.png", "does not exist"),
        "folder": (folder / "folder.png", "is a folder"),
    }


@pytest.mark.parametrize("kind", ["text", "empty", "header", "truncated", "flipped", "missing", "folder"])
def test_what_is_no_image_is_named_in_one_line(kind: str, tmp_path: Path) -> None:
    path, reason = broken_files(tmp_path)[kind]
    with pytest.raises(UserError) as caught:
        read_image(path, (3, 64, 64))
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
