"""The page: one file of HTML that needs nothing else, made of sections that know nothing of each other."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """An image that the page carries with it.

    Args:
        uri: a data: address with all of its bytes.
        alt: what it shows, for readers who cannot see it.
        width: intrinsic width in pixels, so that the page does not jump.
        height: intrinsic height.
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
        body: from a `Templates.fill`.
    """

    id: str
    title: str
    body: Markup


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
        pages, title, lead = {}, page.title, page.lead
    else:
        page, pages = None, {name: _as_chapter(name, page) for name, page in pages.items()}
    values = {"page": page, "pages": pages, "title": title, "lead": lead, "made_by": made_by, "notes": list(notes)}
    return str(fill("page.html", **values, style=_inline("page.css"), script=_script())) + "\n"


def _as_chapter(name: str, page: Page) -> Page:
    """With the chapter's name before the ids of its sections, and in links to them."""
    link = 'href="#'
    sections = [
        Section(f"{name}-{each.id}", each.title, Markup(str(each.body).replace(link, f"{link}{name}-")))
        for each in page.sections
    ]
    return replace(page, sections=sections)


def fill_from(folder: Path, template: str, **values: Any) -> Markup:
    """A template with its values; text is escaped, `Markup` is not.

    Args:
        folder: of templates of one modality, which may use those of this package.
        template: name of its file.
        values: that it needs.
    """
    return Markup(_environment(folder).get_template(template).render(**values))


fill = partial(fill_from, TEMPLATES)
"""The same with the templates of this package."""


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=duration, figure=figure, words=unbroken_words)
    return environment


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as an address that holds them.

    Args:
        content: of a file.
        kind: its media type, such as `image/png`.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _script() -> Markup:
    """Everything that moves on a page."""
    return _inline("page.js") + _inline("people.js")


def _inline(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text())


def unbroken_words(line: str) -> Markup:
    """A command line that breaks between words alone: browsers break at hyphens too."""
    return Markup(" ").join(
        Markup("<span>{}</span>").format(word) if len(word) < 48 else word for word in line.split(" ")
    )


def duration(seconds: float) -> str:
    """`7 min 12 s`, `48 s`, `3.2 s`, `12 ms`: as precise as a person cares for."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def figure(value: float, name: str = "") -> str:
    """A figure in the form that its metric's name calls for: shares in percent unless tiny, others in four digits."""
    if name.startswith(("class_accuracy", "label_accuracy", "accuracy", "code_usage", "precision", "recall", "wer")):
        return f"{100 * value:.1f} %" if value == 0 or abs(value) >= 0.0005 else f"{value:.2g}"
    if name.startswith("seconds"):
        return duration(value)
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.4g}"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign: `+3.2`, `−0.4`."""
    return f"{value:+.{digits}f}".replace("-", "−")
