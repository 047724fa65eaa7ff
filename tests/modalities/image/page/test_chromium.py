"""The page in a real browser."""

import re
from pathlib import Path

import pytest

from mmgen.modalities.image.page import image_page
from mmgen.page import render
from tests.modalities.image.page.fake import story
from tests.page.browser import MARKS, look

pytestmark = MARKS


@pytest.fixture(scope="module")
def page() -> str:
    return render(image_page(story()))


@pytest.mark.parametrize("width", [1280, 500])
def test_it_opens_complete_and_without_an_error(page: str, tmp_path: Path, width: int) -> None:
    seen = look(page, tmp_path, f"--window-size={width},900")
    assert seen["errors"] == []
    assert seen["images"] > 20
    assert seen["broken"] == []
    assert seen["hidden"] == 0
    assert seen["wide"] <= 0  # nothing to scroll sideways


def test_the_films_run_on_one_clock_of_passes(page: str, tmp_path: Path) -> None:
    seen = look(page, tmp_path)
    assert seen["player"]
    assert [film["frames"] for film in seen["films"]["0"]] == [50, 13, 29]
    for passes, frames in (("0", [0, 0, 0]), ("10", [10, 10, 10]), ("49", [49, 12, 28])):
        assert [film["frame"] for film in seen["films"][passes]] == frames
    assert [film["told"] for film in seen["films"]["10"]] == ["pass 10"] * 3
    assert [film["told"] for film in seen["films"]["49"]] == ["finished"] * 3


def test_without_scripts_the_films_run_too_and_stand_finished_where_motion_is_unwelcome(
    page: str, tmp_path: Path
) -> None:
    silent = re.sub(r"(?s)<script>\n// One clock.*?</script>", "", page)
    assert silent != page
    assert look(silent, tmp_path)["running"] == 3
    still = look(silent, tmp_path, "--force-prefers-reduced-motion")
    assert not still["player"]
    assert still["running"] == 0
    assert [film["frame"] for film in still["films"]["0"]] == [49, 12, 28]


def test_it_is_dark_where_people_like_it_dark(page: str, tmp_path: Path) -> None:
    def brightness(*options: str) -> float:
        ground = look(page, tmp_path, *options)["ground"]
        return sum(map(int, re.findall(r"\d+", ground)[:3])) / 3

    assert brightness() > 200
    assert brightness("--blink-settings=preferredColorScheme=0") < 60
