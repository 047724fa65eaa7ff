"""A page as a parser sees it, and what holds for every page."""

import html
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

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


def text(page: str) -> str:
    """What a person reads."""
    body = re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)
    return " ".join(html.unescape(re.sub("<[^>]*>", "", body)).split())


def check_that_it_needs_nothing_else(page: str) -> None:
    addresses = [
        value
        for _, attributes in Elements(page).found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset")
    ]
    assert len(addresses) > 20
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "://" not in page
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", page)


def check_that_every_picture_says_what_it_shows(page: str) -> None:
    elements = Elements(page)
    for each in elements.named("img"):
        assert len(each["alt"]) > 10
        assert int(each["width"]) > 0 and int(each["height"]) > 0
    assert all(each["role"] == "img" and len(each["aria-label"]) > 10 for each in elements.named("svg"))


def check_that_links_and_labels_lead_somewhere(page: str) -> None:
    elements = Elements(page)
    ids = Counter(attributes["id"] for _, attributes in elements.found if "id" in attributes)
    assert set(ids.values()) == {1}
    for _, attributes in elements.found:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
    assert len(elements.named("h1")) == 1
    assert elements.named("html") == [{"lang": "en"}]


LAWS = [
    check_that_it_needs_nothing_else,
    check_that_every_picture_says_what_it_shows,
    check_that_links_and_labels_lead_somewhere,
]
"""What holds for every page."""
