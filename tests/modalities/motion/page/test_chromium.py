"""The page of motions in a real browser."""

import re
from pathlib import Path

import pytest

from mmgen.modalities.motion.page import motion_page
from mmgen.page import render
from tests.modalities.motion.page.fake import story
from tests.page.browser import MARKS, look
from tests.page.elements import Elements

pytestmark = MARKS


@pytest.fixture(scope="module")
def page() -> str:
    return render(motion_page(story()))


@pytest.mark.parametrize("width", [1280, 500])
def test_it_opens_complete_and_people_move(page: str, tmp_path: Path, width: int) -> None:
    seen = look(page, tmp_path, f"--window-size={width},9000")
    assert seen["errors"] == []
    assert seen["broken"] == []
    assert seen["hidden"] == 0
    assert seen["wide"] <= 0
    assert seen["player"]
    early, later, last = (seen["people"][time] for time in ("1", "6", "99"))
    assert len(early) == len(Elements(page).named("canvas")) > 10
    for before, after in zip(early, later):
        assert before["painted"] > 500 and after["painted"] > 500
        assert before["sum"] != after["sum"]
    assert all(each["painted"] > 500 for each in last)  # those that ended stand there still
    # The last three have a gap from frame 5 to frame 8 (counted from 1); what was given is pale.
    assert [each["seen"] for each in early[-3:]] == ["0.35"] * 3
    assert [each["seen"] for each in later[-3:]] == ["1"] * 3
    assert all(each["seen"] == "1" for each in early[:-3])


def test_without_scripts_there_are_pictures(page: str, tmp_path: Path) -> None:
    silent = re.sub(r"(?s)<script>\n// One clock.*?</script>", "", page)
    assert silent != page
    seen = look(silent, tmp_path)
    assert seen["broken"] == [] and seen["hidden"] == 0 and not seen["player"]
    assert all(each["painted"] == 0 for each in seen["people"]["6"])


def test_nobody_is_drawn_whom_nobody_sees(page: str, tmp_path: Path) -> None:
    seen = look(page, tmp_path, "--window-size=1280,400")
    assert seen["errors"] == []
    assert all(each["painted"] == 0 for each in seen["people"]["6"])  # they begin below
