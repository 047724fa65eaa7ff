"""The page: one file of HTML that needs nothing else, made of sections that know nothing of each other."""

import base64
from dataclasses import dataclass
from functools import cache
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
        alt: what it shows, for whom cannot see it.
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
        body: from `fill`.
    """

    id: str
    title: str
    body: Markup


@dataclass(frozen=True)
class Page:
    """The whole.

    Args:
        title: the browser's and the page's.
        lead: a sentence or two on what was done.
        hero: a picture beside them.
        figures: (value, label) of the few numbers that matter most.
        facts: label -> text, the circumstances.
        commands: what was run, in order.
        sections: in order.
        made_by: the one command that does all of it.
    """

    title: str
    lead: str
    hero: Picture
    figures: list[tuple[str, str]]
    facts: dict[str, str]
    commands: list[str]
    sections: list[Section]
    made_by: str


def render(page: Page) -> str:
    """The page as a single HTML file: styles, script and images inline, no address of any other place in it."""
    about = {"title": page.title, "lead": page.lead}
    return str(fill("page.html", page=page, **about, style=inline("page.css"), script=script())) + "\n"


def fill(template: str, **values: Any) -> Markup:
    """A template of this package with its values; text is escaped, `Markup` is not."""
    return Markup(_environment().get_template(template).render(**values))


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as an address that holds them.

    Args:
        content: of a file.
        kind: its media type, such as `image/png`.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=duration, figure=figure, words=words)
    return environment


def script() -> Markup:
    """Everything that moves on a page."""
    return inline("page.js") + inline("people.js")


def inline(name: str) -> Markup:
    """A file beside the templates, as it is."""
    return Markup((TEMPLATES / name).read_text())


def words(line: str) -> Markup:
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
    if name.startswith(("class_accuracy", "label_accuracy", "accuracy", "code_usage", "precision", "recall")):
        return f"{100 * value:.1f} %" if value == 0 or abs(value) >= 0.0005 else f"{value:.2g}"
    if name.startswith("seconds"):
        return duration(value)
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.4g}"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign: `+3.2`, `−0.4`."""
    return f"{value:+.{digits}f}".replace("-", "−")
