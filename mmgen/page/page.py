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
    """An image that the page carries with it.

    Args:
        uri: a data: address with all of its bytes.
        alt: what it shows, for readers who cannot see it.
        width: in pixels, so that the page does not jump.
        height: likewise.
    """

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Section:
    """A part of the page, with an entry in its table of contents.

    Args:
        id: for links; unique on a page.
        title: heading and entry.
        body: blocks of HTML under each other.
    """

    id: str
    title: str
    body: Sequence[Markup]


@dataclass(frozen=True)
class Page:
    """A whole page, or a chapter of one.

    Args:
        title: the browser's and the page's.
        lead: a sentence or two on what it shows.
        opening_picture: a picture beside them; None for none.
        figures: (value, label) of the few numbers that matter most.
        facts: label -> text, what the runs are.
        commands: what was run, in order.
        sections: in order.
    """

    title: str
    lead: str
    opening_picture: Picture | None
    figures: list[tuple[str, str]]
    facts: dict[str, str]
    commands: list[str]
    sections: list[Section]


def render(pages: dict[str, Page], title: str, lead: str, made_by: str, notes: Iterable[str] = ()) -> str:
    """A single HTML file: styles, script, pictures and sounds inline, no address of any other place in it.

    Args:
        pages: name -> page; one is the whole, several are chapters.
        title: of the whole where there are chapters.
        lead: likewise.
        made_by: the command that made it.
        notes: sentences below the lead of the whole.
    """
    if len(pages) == 1:
        (page,) = pages.values()
        chapters, title, lead = {}, page.title, page.lead
    else:
        page, chapters = None, {name: _with_prefix(page, name) for name, page in pages.items()}
    style, script = (
        Markup("".join((TEMPLATES / name).read_text() for name in names))
        for names in (["page.css"], ["page.js", "people.js"])
    )
    template = _environment(TEMPLATES).get_template("page.html")
    text = template.render(
        page=page, chapters=chapters, title=title, lead=lead, made_by=made_by, notes=notes, style=style, script=script
    )
    return text + "\n"


def _with_prefix(page: Page, name: str) -> Page:
    """A chapter: its name stands before the ids of its sections."""
    return replace(page, sections=[replace(each, id=f"{name}-{each.id}") for each in page.sections])


def macros(file: Path) -> Any:
    """The macros of a template as functions that return HTML; text is escaped, `Markup` is not."""
    return _environment(file.parent).get_template(file.name).module


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(figure=figure, words=unbroken_words, prose=_prose)
    return environment


def data_uri(content: bytes, kind: str) -> str:
    """Bytes of a media type, such as `image/png`, as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def unbroken_words(line: str) -> Markup:
    """A command line that breaks between words alone: browsers break at hyphens too."""
    return Markup(" ").join(
        Markup("<span>{}</span>").format(word) if len(word) < 48 else word for word in line.split(" ")
    )


def _prose(text: str) -> Markup:
    """Text with `**strong**` words and code in backticks."""
    marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", marked))


parts: Any = macros(TEMPLATES / "parts.html")
