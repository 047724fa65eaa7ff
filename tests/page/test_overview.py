from pathlib import Path

import pytest

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.modalities.image.page import image_page
from mmgen.modalities.video.page import video_page
from mmgen.page.overview import SUMMARY, Summary, overview
from mmgen.page.page import Page
from tests.modalities.image.page.fake import story as images
from tests.modalities.video.page.fake import story as clips
from tests.page.elements import Elements, text


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {"demo": image_page(images()), "demo-video": video_page(clips())}


@pytest.fixture
def demos(tmp_path: Path, pages: dict[str, Page]) -> list[Path]:
    folders = [tmp_path / name for name in pages]
    for folder, page in zip(folders, pages.values()):
        folder.mkdir()
        Summary.of(page).write(folder)
    return folders


def test_each_demo_has_a_row_that_leads_to_its_page(demos: list[Path], pages: dict[str, Page], tmp_path: Path) -> None:
    out = tmp_path / "pages" / "all.html"
    assert main(["gallery", *map(str, demos), "--out", str(out)]) == 0
    page = out.read_text()
    elements = Elements(page)
    assert [each["href"] for each in elements.named("a")] == ["../demo/index.html", "../demo-video/index.html"]
    assert [each["src"] for each in elements.named("img")] == [each.hero.uri for each in pages.values()]
    told = text(page)
    assert "Two demos" in told
    for each in pages.values():
        assert each.title in told and each.lead in told
        assert all(value in told and label in told for value, label in each.figures)
    assert "://" not in page and "<script" not in page


def test_a_summary_is_read_as_it_was_written(demos: list[Path], pages: dict[str, Page]) -> None:
    assert [Summary.read(folder) for folder in demos] == [Summary.of(page) for page in pages.values()]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"title": "x", "lead": "y", "hero": {}, "figures": []}'])
def test_a_folder_without_a_finished_demo_is_named(demos: list[Path], tmp_path: Path, content: str | None) -> None:
    other = tmp_path / "other"
    other.mkdir()
    if content is not None:
        (other / SUMMARY).write_text(content)
    with pytest.raises(UserError, match="other holds no finished demo"):
        overview([*demos, other], tmp_path / "all.html")


def test_nothing_is_written_over(demos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "all.html"
    out.write_text("mine")
    assert main(["gallery", str(demos[0]), "--out", str(out)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert out.read_text() == "mine"
