"""The page of speech in a real browser."""

from pathlib import Path

import pytest

from mmgen.modalities.speech.page import speech_page
from mmgen.page import render
from tests.modalities.speech.page.fake import story
from tests.page.browser import MARKS, look

pytestmark = [*MARKS]


@pytest.mark.parametrize("width", [1280, 500])
def test_it_opens_complete_and_without_an_error(tmp_path: Path, width: int) -> None:
    pytest.importorskip("soundfile")
    seen = look(render(speech_page(story())), tmp_path, f"--window-size={width},900")
    assert seen["errors"] == []
    assert seen["broken"] == []
    assert seen["hidden"] == 0
    assert seen["wide"] <= 0
