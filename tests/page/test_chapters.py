"""The pages of several demos as one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from mmgen.core.errors import UserError
from mmgen.modalities.image.page import image_page
from mmgen.modalities.motion.page import motion_page
from mmgen.modalities.video.page import video_page
from mmgen.page.chapters import chapters
from mmgen.page.page import Page
from mmgen.page.stored import KEPT, read_page, write_page
from tests.modalities.image.page.fake import story as images
from tests.modalities.motion.page.fake import story as motions
from tests.modalities.video.page.fake import story as clips
from tests.page.browser import MARKS, look
from tests.page.elements import LAWS, Elements, text


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {"image": image_page(images()), "video": video_page(clips()), "motion": motion_page(motions())}


@pytest.fixture(scope="module")
def whole(pages: dict[str, Page]) -> str:
    return chapters(pages, {"speech": "the demo needs the package <soundfile>"}, 1511.0)


@pytest.mark.parametrize("law", LAWS)
def test_it_is_a_whole_page(law: Callable[[str], None], whole: str) -> None:
    law(whole)


def test_every_chapter_has_all_that_its_page_has(whole: str, pages: dict[str, Page]) -> None:
    elements, told = Elements(whole), text(whole)
    assert [each["id"] for each in elements.named("article") if "id" in each] == list(pages)
    wanted = [f"{name}-{section.id}" for name, page in pages.items() for section in page.sections]
    assert [each["id"] for each in elements.named("section")] == wanted
    for page in pages.values():
        assert page.title in told and page.lead in told and page.hero.uri in whole
        assert all(each.body in whole for each in page.sections if 'href="#' not in each.body)
        assert all(command in told for command in page.commands)
    assert "Three modalities" in told and "25 min 11 s" in told
    assert "Speech is left out: the demo needs the package <soundfile>" in told


def test_links_stay_in_their_chapter(pages: dict[str, Page], whole: str) -> None:
    assert any('href="#metrics"' in section.body for section in pages["image"].sections)
    links = [each["href"] for each in Elements(whole).named("a")]
    assert "#metrics" not in links and links.count("#image-metrics") == 2


def test_films_of_several_chapters_have_rules_of_their_own(whole: str) -> None:
    films = [each["class"] for each in Elements(whole).named("div") if "data-at" in each]
    assert len(films) > 10 and len(set(films)) == len(films)


def test_a_page_is_read_as_it_was_written(pages: dict[str, Page], tmp_path: Path) -> None:
    for page in pages.values():
        write_page(page, tmp_path)
        assert read_page(tmp_path) == page
        assert dataclasses.asdict(read_page(tmp_path)) == dataclasses.asdict(page)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"hero": {}, "figures": [], "sections": []}'])
def test_a_folder_without_a_page_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / KEPT).write_text(content)
    with pytest.raises(UserError, match="holds no page of a finished demo"):
        read_page(tmp_path)


@MARKS[0]
@MARKS[1]
def test_in_a_browser_films_and_people_run_side_by_side(whole: str, tmp_path: Path) -> None:
    seen = look(whole, tmp_path, "--window-size=1280,20000")
    assert seen["errors"] == [] and seen["broken"] == [] and seen["hidden"] == 0 and seen["wide"] <= 0
    assert len(seen["films"]["5"]) > 10
    assert all(each["painted"] > 500 for each in seen["people"]["6"])
