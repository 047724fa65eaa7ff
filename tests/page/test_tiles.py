import base64
import io

import numpy as np
import torch
from PIL import Image

from mmgen.page.tiles import OPEN, WRONG, cover, picture, pixels, sheet


def test_pixels_are_squares_of_their_grey_or_colour() -> None:
    grey = torch.tensor([[[-1.0, 1.0]]])
    assert pixels(grey, 2)[..., 0].tolist() == [[0, 0, 255, 255], [0, 0, 255, 255]]
    assert (pixels(grey)[..., 3] == 255).all()
    colour = torch.tensor([-1.0, 0.2, 1.0])[:, None, None]
    assert pixels(colour)[0, 0].tolist() == [0, 153, 255, 255]


def test_a_sheet_lays_tiles_row_by_row_between_transparent_gaps() -> None:
    tiles = pixels(torch.arange(5).view(5, 1, 1, 1).expand(5, 1, 2, 3) / 10)
    laid = sheet(tiles, columns=3, gap=1)
    assert laid.shape == (2 * 2 + 1, 3 * 3 + 2, 4)
    for number in range(5):
        row, column = divmod(number, 3)
        place = laid[row * 3 : row * 3 + 2, column * 4 : column * 4 + 3]
        assert np.array_equal(place, tiles[number])
    assert (laid[2] == 0).all()  # between the rows
    assert (laid[:, 3] == 0).all()  # between the columns
    assert (laid[3:, 8:] == 0).all()  # where there is no sixth


def test_marked_tiles_have_a_frame_and_the_others_none() -> None:
    tiles = pixels(torch.zeros(3, 1, 24, 24))
    laid = sheet(tiles, 3, gap=0, marked=torch.tensor([False, True, False]))
    assert (laid[[0, -1], 24:48] == WRONG).all()
    assert (laid[:, [24, 47]] == WRONG).all()
    assert np.array_equal(laid[1:-1, 25:47], tiles[1, 1:-1, 1:-1])
    assert np.array_equal(laid[:, :24], tiles[0])


def test_open_places_show_nothing_of_the_image_and_fresh_ones_are_tinted() -> None:
    image = pixels(torch.ones(1, 16, 16))
    committed = torch.tensor([[True, True], [False, False]])
    fresh = torch.tensor([[False, True], [False, False]])
    covered = cover(image, committed, fresh, (10, 20, 30))
    assert np.array_equal(covered[:8, :8], image[:8, :8])
    assert len({tuple(pixel) for pixel in covered[:8, 8:].reshape(-1, 4).tolist()}) == 1
    assert covered[0, 8, 0] < covered[0, 8, 2] < 255  # towards the accent
    assert {tuple(pixel) for pixel in covered[8:].reshape(-1, 4).tolist()} == {OPEN, (0, 0, 0, 0)}


def test_a_picture_holds_every_pixel() -> None:
    source = torch.Generator().manual_seed(0)
    image = pixels(torch.rand(3, 5, 7, generator=source) * 2 - 1)
    made = picture(image, "noise")
    assert (made.width, made.height) == (7, 5)
    kind, content = made.uri.split(",")
    assert kind == "data:image/webp;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA")), image)
