"""The overview: a row for each demo, which leads to its page."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.page.page import Page, Picture, fill, inline
from mmgen.page.wording import word
from mmgen.store.results import write_json

SUMMARY, PAGE = "summary.json", "index.html"


@dataclass(frozen=True)
class Summary:
    """The head of a page, which a demo leaves beside it.

    Args:
        title: of the page.
        lead: its first sentences.
        hero: the picture beside them.
        figures: (value, label) of the few numbers that matter most.
    """

    title: str
    lead: str
    hero: Picture
    figures: list[tuple[str, str]]

    @classmethod
    def of(cls, page: Page) -> "Summary":
        """That of a page."""
        return cls(page.title, page.lead, page.hero, page.figures)

    @classmethod
    def read(cls, folder: Path) -> "Summary":
        """That of the demo in a folder. Raises UserError where none was finished there."""
        try:
            plain = json.loads((folder / SUMMARY).read_text())
            hero, figures = Picture(**plain.pop("hero")), [(value, label) for value, label in plain.pop("figures")]
            return cls(**plain, hero=hero, figures=figures)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise UserError(f"{folder} holds no finished demo: make one with mmgen demo --out {folder}") from None

    def write(self, folder: Path) -> None:
        """Beside the page in a folder."""
        write_json(folder / SUMMARY, asdict(self))


def overview(folders: list[Path], out: Path) -> str:
    """The page with a row for each folder, in order.

    Args:
        folders: of finished demos.
        out: where the page will be, from which it leads to theirs.

    Raises:
        UserError: a folder without a finished demo.
    """
    rows = [
        {"summary": Summary.read(folder), "link": Path(os.path.relpath(folder / PAGE, out.parent)).as_posix()}
        for folder in folders
    ]
    count = f"{word(len(rows))} demo{'s' if len(rows) != 1 else ''}"
    lead = f"{count.capitalize()}, each from real data to samples, trained from scratch."
    return str(fill("overview.html", title="What was learned", lead=lead, rows=rows, style=inline("page.css"))) + "\n"
