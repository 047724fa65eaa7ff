"""The page: one HTML file that needs nothing else. `parts` holds the macros of `parts.html` as functions."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from mmgen.page.wording import figure

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """An image as a data: address, what it shows for readers who cannot see it, and its size in pixels."""

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Section:
    """A part of the page, with an entry in its table of contents: an id that is unique on the page, a heading, and
    blocks of HTML. A plain text becomes a paragraph.
    """

    id: str
    title: str
    body: Sequence[Markup | str]


@dataclass(frozen=True)
class Page:
    """A whole page, or a chapter of one: title, lead, a picture beside them, (value, label) of the few numbers that
    matter most, facts on the runs, what was run, and its sections.
    """

    title: str
    lead: str
    opening_picture: Picture | None
    figures: list[tuple[str, str]]
    facts: dict[str, str]
    commands: list[str]
    sections: list[Section]


def render(chapters: dict[str, Page], title: str, lead: str, made_by: str, notes: Iterable[str] = ()) -> str:
    """A single HTML file: styles, script, pictures and sounds inline, no address of any other place in it.

    Args:
        chapters: name -> page; one is the whole.
        title: of the whole where there are several.
        lead: likewise.
        made_by: the command that made it.
        notes: sentences below the lead of the whole.
    """
    page = None
    if len(chapters) == 1:
        page = next(iter(chapters.values()))
        chapters, title, lead = {}, page.title, page.lead
    for name, chapter in chapters.items():
        sections = [replace(each, id=f"{name}-{each.id}") for each in chapter.sections]
        chapters = chapters | {name: replace(chapter, sections=sections)}
    style, people, script = (Markup((TEMPLATES / name).read_text()) for name in ("page.css", "people.js", "page.js"))
    text = _environment(TEMPLATES).get_template("page.html").render(
        page=page, chapters=chapters, title=title, lead=lead, made_by=made_by, notes=notes, style=style,
        script=people + script,
    )  # fmt: skip
    return text + "\n"


def macros(file: Path) -> Any:
    """The macros of a template as functions that return HTML; text is escaped, `Markup` is not."""
    return _environment(file.parent).get_template(file.name).module


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(figure=figure, words=unbroken_words, prose=_mark_up)
    return environment


def data_uri(content: bytes, kind: str) -> str:
    """Bytes of a media type, such as `image/png`, as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def unbroken_words(line: str) -> Markup:
    """A command line that breaks between words alone: browsers break at hyphens too."""
    words = (Markup("<span>{}</span>").format(word) if len(word) < 48 else word for word in line.split(" "))
    return Markup(" ").join(words)


def _mark_up(text: str) -> Markup:
    """Text with `**strong**` words and code in backticks."""
    marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", marked))


parts: Any = macros(TEMPLATES / "parts.html")
