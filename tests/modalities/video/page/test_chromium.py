"""The page of clips in a real browser."""

import re
from pathlib import Path

import pytest

from mmgen.modalities.video.page import video_page
from mmgen.page import render
from tests.modalities.video.page.fake import CONTEXT, FRAMES, LONG, USED, story
from tests.page.browser import MARKS, look

pytestmark = MARKS

FILMS = [FRAMES] * (2 + len(USED) + 2) + [LONG] * len(USED) + [FRAMES] * len(USED)
"""Frames of each film on the page."""


@pytest.fixture(scope="module")
def page() -> str:
    return render(video_page(story()))


@pytest.mark.parametrize("width", [1280, 500])
def test_it_opens_complete_and_without_an_error(page: str, tmp_path: Path, width: int) -> None:
    seen = look(page, tmp_path, f"--window-size={width},900")
    assert seen["errors"] == []
    assert seen["broken"] == []
    assert seen["hidden"] == 0
    assert seen["wide"] <= 0


def test_every_row_has_its_own_clock_of_frames(page: str, tmp_path: Path) -> None:
    seen = look(page, tmp_path)
    assert seen["player"]
    assert [film["frames"] for film in seen["films"]["10"]] == FILMS
    # A slider goes no further than its clip is long.
    assert [film["frame"] for film in seen["films"]["5"]] == [4] * len(FILMS)
    assert [film["frame"] for film in seen["films"]["49"]] == [frames - 1 for frames in FILMS]
    told = [film["told"] for film in seen["films"]["5"]]
    assert told[:4] == ["frame 5", "frame 5", "frame 5", "frame 5, predicted"]
    assert told[5] == f"frame 5: frame {CONTEXT} again"
    assert [film["told"] for film in seen["films"]["10"]][6] == "frame 10, beyond training"


def test_without_scripts_the_films_run_too_and_stand_still_where_motion_is_unwelcome(page: str, tmp_path: Path) -> None:
    silent = re.sub(r"(?s)<script>\n// One clock.*?</script>", "", page)
    assert silent != page
    assert look(silent, tmp_path)["running"] == len(FILMS)
    still = look(silent, tmp_path, "--force-prefers-reduced-motion")
    assert not still["player"]
    assert still["running"] == 0
