"""Several pages as one, a chapter each."""

from dataclasses import replace

from markupsafe import Markup

from mmgen.page.page import Page, Section, duration, fill, inline, script
from mmgen.page.wording import word

TITLE = "What was learned"


def chapters(pages: dict[str, Page], left_out: dict[str, str], seconds: float) -> str:
    """A single HTML file with all that the pages hold: styles, script, pictures and sounds inline.

    Args:
        pages: name -> page, in order.
        left_out: name -> why there is no such page.
        seconds: that all of them took.
    """
    count = f"{word(len(pages))} modalit{'ies' if len(pages) != 1 else 'y'}"
    lead = f"{count.capitalize()}, each from real data to samples, trained from scratch in {duration(seconds)} in all."
    shown = {name: chapter(name, page) for name, page in pages.items()}
    about = {"title": TITLE, "lead": lead, "made_by": "mmgen demo all", "left_out": left_out}
    return str(fill("chapters.html", pages=shown, **about, style=inline("page.css"), script=script())) + "\n"


def chapter(name: str, page: Page) -> Page:
    """The page with its name before the ids of its sections, which are unique there alone, and in links to them."""
    link = 'href="#'
    made_of = [
        Section(f"{name}-{each.id}", each.title, Markup(str(each.body).replace(link, f"{link}{name}-")))
        for each in page.sections
    ]
    return replace(page, sections=made_of)
