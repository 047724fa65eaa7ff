import dataclasses
import html
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from mmgen.gallery import image, image_page, render
from mmgen.gallery.material import Material
from mmgen.gallery.page import Section, duration, figure, fill, words
from tests.gallery.fake import USED, material

VOID = {"meta", "link", "img", "input", "br", "rect", "line", "polyline", "circle"}


class Elements(HTMLParser):
    """All elements with their attributes; fails where a tag is closed that is not the last one opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def named(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def made() -> Material:
    return material()


@pytest.fixture(scope="module")
def page(made: Material) -> str:
    return render(image_page(made))


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def text(page: str) -> str:
    """What a person reads."""
    body = re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)
    return " ".join(html.unescape(re.sub("<[^>]*>", "", body)).split())


def test_it_needs_nothing_else(page: str, elements: Elements) -> None:
    addresses = [
        value
        for _, attributes in elements.found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset")
    ]
    assert len(addresses) > 20
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "://" not in page
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", page)


def test_every_picture_says_what_it_shows(elements: Elements) -> None:
    images = elements.named("img")
    assert len(images) > 20
    for each in images:
        assert len(each["alt"]) > 10
        assert int(each["width"]) > 0 and int(each["height"]) > 0
    drawings = elements.named("svg")
    assert len(drawings) == len(USED) + 2
    assert all(each["role"] == "img" and len(each["aria-label"]) > 10 for each in drawings)


def test_links_and_labels_lead_somewhere(elements: Elements) -> None:
    ids = Counter(attributes["id"] for _, attributes in elements.found if "id" in attributes)
    assert set(ids.values()) == {1}
    for _, attributes in elements.found:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
    assert len(elements.named("h1")) == 1
    assert elements.named("html") == [{"lang": "en"}]


def test_every_result_stands_on_it(page: str, made: Material, elements: Elements) -> None:
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


def test_parts_without_results_leave_no_trace(made: Material) -> None:
    page = render(image_page(dataclasses.replace(made, completions=[], masks=[], curves=[])))
    assert [each["id"] for each in Elements(page).named("section")] == ["tokenizer", "samples", "decoding", "metrics"]
    assert 'href="#masks"' not in page


def test_a_new_section_is_one_function_more(made: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    def sound(_: Material) -> Section:
        return Section("sound", "Listen", fill("training.html", charts=[]))

    monkeypatch.setattr(image, "SECTIONS", [*image.SECTIONS, sound])
    page = render(image_page(made))
    assert '<a href="#sound">Listen</a>' in page
    assert Elements(page).named("section")[-1]["id"] == "sound"


def test_a_mode_that_nobody_described_is_shown_as_well(made: Material) -> None:
    modes = [*made.modes, dataclasses.replace(made.modes[0], name="planned")]
    page = text(render(image_page(dataclasses.replace(made, modes=modes))))
    assert "One checkpoint, four ways to generate" in page
    assert "Planned planned" in page


def test_the_best_figure_of_a_row_is_marked() -> None:
    def best(name: str, values: list[float | None]) -> list[bool]:
        return [cell["best"] for cell in image.metric_row(name, values, "digits_cnn")["cells"]]

    assert best("fid_digits_cnn", [3.0, 1.0, None]) == [False, True, False]
    assert best("class_accuracy_digits_cnn", [0.9, 0.95, 0.95]) == [False, True, True]
    assert best("forward_passes", [12, 12, 12]) == [False] * 3
    assert best("steps", [1, 2, 3]) == [False] * 3


def test_figures_are_as_precise_as_a_person_cares_for() -> None:
    assert [duration(s) for s in (0.0123, 3.21, 9.96, 48.4, 59.7, 433.2)] == [
        "12.3 ms", "3.2 s", "10 s", "48 s", "1 min 00 s", "7 min 13 s",
    ]  # fmt: skip
    assert figure(0.9125, "class_accuracy_digits_cnn") == "91.2 %"
    assert figure(14.256789, "fid_digits_cnn") == "14.26"
    assert figure(0.0123, "seconds_per_sample") == "12.3 ms"
    assert figure(49.0, "forward_passes") == "49"


def test_a_command_is_copied_as_it_was() -> None:
    line = "mmgen sample 'a run' --class \"<b>\" --mode ar"
    assert html.unescape(re.sub("<[^>]*>", "", words(line))) == line
