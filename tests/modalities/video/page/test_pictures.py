import base64
import io

import numpy as np
import torch
from PIL import Image

from mmgen.modalities.video.page.pictures import GAP, SHEET, TIMES, contact_sheet, copied, reel
from mmgen.page.page import Picture
from mmgen.page.tiles import LONGEST, pixels
from tests.modalities.video.page.fake import SIDE, clips


def shown(picture: Picture) -> np.ndarray:
    content = base64.b64decode(picture.uri.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def test_a_film_holds_every_frame_of_every_clip() -> None:
    made = clips(3)
    film = reel(made, [f"frame {n}" for n in range(1, 9)], "8 frames", "three clips")
    assert film.at == list(range(1, 9))
    side, step = TIMES * SIDE, TIMES * SIDE + GAP
    strip = shown(film.strip)
    assert film.height == side
    for frame in (0, 5, 7):
        for clip in range(3):
            tile = strip[frame * side : (frame + 1) * side, clip * step : clip * step + side]
            assert np.array_equal(tile, pixels(made[clip, :, frame], TIMES))


def test_a_film_never_grows_higher_than_a_picture_may_be() -> None:
    made = torch.zeros(4, 1, 300, 64, 64)
    film = reel(made, [str(n) for n in range(300)], "", "many frames", columns=1)
    assert film.strip.height <= LONGEST
    assert (film.at[0], film.at[-1]) == (1, 300)
    assert film.told == [str(n - 1) for n in film.at]
    assert len(film.at) == film.strip.height // film.height


def test_copying_stands_still_after_the_context() -> None:
    truth = clips(2)
    still = copied(truth, 3)
    assert torch.equal(still[:, :, :3], truth[:, :, :3])
    assert all(torch.equal(still[:, :, frame], truth[:, :, 2]) for frame in range(3, 8))


def test_a_contact_sheet_shows_long_clips_from_end_to_end() -> None:
    ramp = torch.linspace(-1, 1, 50).view(1, 50, 1, 1).expand(1, 50, 8, 8)
    sheet = shown(contact_sheet([ramp], "a ramp"))
    step = TIMES * 8 + GAP
    values = sheet[0, ::step, 0].astype(int)
    assert len(values) == SHEET
    assert (values[0], values[-1]) == (0, 255)
    assert (np.diff(values) > 0).all()
