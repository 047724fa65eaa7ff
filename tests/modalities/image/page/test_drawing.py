import re

import pytest

from mmgen.modalities.image.page.drawing import commit_passes, order_map
from mmgen.modalities.image.page.pictures import FRAMES, film_tiles, thinned
from tests.modalities.image.page.fake import CELLS, film, order, pictures


@pytest.mark.parametrize("mode", ["ar", "masked", "block"])
def test_the_map_says_when_each_token_was_committed(mode: str) -> None:
    made = film(mode, pictures(4))
    assert commit_passes(made, 2) == order(mode, 2).view(CELLS, CELLS).tolist()
    shown = re.findall(r">(\d+)</text>", order_map(made, 2, "x"))
    assert [int(number) for number in shown] == order(mode, 2).tolist()


def test_a_given_place_stands_at_pass_0() -> None:
    made = film("ar", pictures(1))
    made.committed[:, :, :, 0] = True
    assert commit_passes(made, 0)[0] == [0] * CELLS


def test_only_the_latest_places_of_a_frame_are_tinted_and_none_of_the_last() -> None:
    made = film("ar", pictures(1))
    tiles = film_tiles(made, "ar")
    side = tiles.shape[-2] // CELLS
    for frame in (1, 17, 48):
        tinted = [
            number
            for number in range(CELLS * CELLS)
            if len(set(tiles[frame, 0, number // CELLS * side, number % CELLS * side, :3].tolist())) > 1
        ]
        assert tinted == [frame - 1]
    assert (tiles[-1, 0, ..., 0] == tiles[-1, 0, ..., 2]).all()


def test_a_long_film_is_thinned_to_its_ends() -> None:
    long = film("ar", pictures(1)).cut([0] * 100 + [49])
    short = thinned(long)
    assert len(short.passes) == FRAMES
    assert (short.passes[0], short.passes[-1]) == (0, 49)
    assert bool(short.committed[-1].all())
    assert thinned(short) is short
