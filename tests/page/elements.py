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
        self.all: list[tuple[str, dict[str, Any]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def named(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.all if name == tag]


def text(page: str) -> str:
    """What a person reads."""
    body = re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)
    return " ".join(html.unescape(re.sub("<[^>]*>", "", body)).split())


def check_page(page: str) -> None:
    """What holds for every page: it needs nothing else, its pictures have descriptions, its links lead somewhere."""
    elements = Elements(page)
    values = [item for _, attributes in elements.all for item in attributes.items()]
    addresses = [value for name, value in values if name in ("src", "href", "srcset")]
    assert len(addresses) > 20 and all(address.startswith(("data:", "#")) for address in addresses)
    assert "://" not in page and not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", page)
    for each in elements.named("img"):
        assert len(each["alt"]) > 10 and int(each["width"]) > 0 and int(each["height"]) > 0
    assert all(each["role"] == "img" and len(each["aria-label"]) > 10 for each in elements.named("svg"))
    ids = Counter(value for name, value in values if name == "id")
    assert set(ids.values()) == {1}
    links = [value[1:] for name, value in values if name == "href" and value.startswith("#")]
    assert {*links, *(value for name, value in values if name == "aria-labelledby")} <= set(ids)
    assert len(elements.named("h1")) == 1 and elements.named("html") == [{"lang": "en"}]
