import dataclasses
from collections.abc import Callable

import pytest

from mmgen.modalities.image.page import image_page
from mmgen.modalities.image.page import page as page_of_images
from mmgen.modalities.image.page.story import ImageStory
from mmgen.page import render
from mmgen.page.page import Section, figure, fill
from tests.modalities.image.page.fake import USED, story
from tests.page.elements import LAWS, Elements, text


@pytest.fixture(scope="module")
def made() -> ImageStory:
    return story()


@pytest.fixture(scope="module")
def page(made: ImageStory) -> str:
    return render(image_page(made))


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


@pytest.mark.parametrize("law", LAWS)
def test_it_is_a_whole_page(law: Callable[[str], None], page: str) -> None:
    law(page)


def test_it_holds_its_pictures(elements: Elements) -> None:
    assert len(elements.named("img")) > 20
    assert len(elements.named("svg")) == len(USED) + 2


def test_every_result_stands_on_it(page: str, made: ImageStory, elements: Elements) -> None:
    told = text(page)
    assert [each["id"] for each in elements.named("section")] == [
        "tokenizer", "samples", "decoding", "completion", "metrics", "training", "masks",
    ]  # fmt: skip
    for mode in made.modes:
        assert mode.command in told
        assert mode.measure_command in told
        for name, value in mode.measured.items():
            assert name in told
            assert figure(value, name) in told
    for each in made.completions:
        assert all(command in told for command in each.commands.values())
    assert "490 bits an image, at 21.63 dB over 1,000 images" in told
    assert "7 min 13 s" in told
    assert "The model was told that it is a 3." in told
    assert "The model was not told that it is a 9." in told
    assert all(command in told for command in made.commands)
    pictured = " ".join(each["alt"] for each in elements.named("img"))
    assert all(f"Mask {each.name}." in pictured for each in made.masks)
    assert "The classifier sees the wanted class in 38 of them." in pictured


def test_text_from_outside_stays_text(page: str) -> None:
    assert "2 cores of <a machine> & more" in text(page)
    assert "<a machine>" not in page


def test_parts_without_results_leave_no_trace(made: ImageStory) -> None:
    page = render(image_page(dataclasses.replace(made, completions=[], masks=[], curves=[])))
    assert [each["id"] for each in Elements(page).named("section")] == ["tokenizer", "samples", "decoding", "metrics"]
    assert 'href="#masks"' not in page


def test_a_new_section_is_one_function_more(made: ImageStory, monkeypatch: pytest.MonkeyPatch) -> None:
    def sound(_: ImageStory) -> Section:
        return Section("sound", "Listen", fill("training.html", charts=[]))

    monkeypatch.setattr(page_of_images, "SECTIONS", [*page_of_images.SECTIONS, sound])
    page = render(image_page(made))
    assert '<a href="#sound">Listen</a>' in page
    assert Elements(page).named("section")[-1]["id"] == "sound"


def test_a_mode_that_nobody_described_is_shown_as_well(made: ImageStory) -> None:
    modes = [*made.modes, dataclasses.replace(made.modes[0], name="planned")]
    page = text(render(image_page(dataclasses.replace(made, modes=modes))))
    assert "One checkpoint, four ways to generate" in page
    assert "Planned planned" in page
