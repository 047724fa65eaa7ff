"""Pages as data beside their HTML, so that others can be made of them."""

import json
from dataclasses import asdict
from pathlib import Path

from markupsafe import Markup

from mmgen.core.errors import UserError
from mmgen.page.page import Page, Picture, Section
from mmgen.store.results import write_json

KEPT = "page.json"


def write_page(page: Page, folder: Path) -> None:
    """Into a folder."""
    write_json(folder / KEPT, asdict(page))


def read_page(folder: Path) -> Page:
    """The page that was written into a folder. Raises UserError where there is none, or something else."""
    try:
        plain = json.loads((folder / KEPT).read_text())
        hero, figures = Picture(**plain.pop("hero")), [(value, label) for value, label in plain.pop("figures")]
        sections = [Section(each["id"], each["title"], Markup(each["body"])) for each in plain.pop("sections")]
        return Page(**plain, hero=hero, figures=figures, sections=sections)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{folder} holds no page of a finished demo: remove it, and make it anew") from None
