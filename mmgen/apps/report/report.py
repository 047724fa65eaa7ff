"""A page about runs: those of one modality side by side, those of several modalities in chapters."""

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.core.modality import find_modality
from mmgen.page.chapter import Chapter
from mmgen.page.page import Page, render
from mmgen.page.parts import PageParts, build_page
from mmgen.page.runs import read_runs
from mmgen.page.wording import in_letters


def make_report(
    paths: Sequence[Path], command: str, titles: Sequence[str], leads: Sequence[str], notes: Sequence[str]
) -> str:
    """The page as HTML.

    Args:
        paths: run folders, exports, or RUN/MEMBER; a joint run stands for all of its members.
        command: that makes the page.
        titles: of each chapter; the names of its runs by default.
        leads: first sentences of each chapter; what its runs are by default.
        notes: sentences below those of the whole.

    Raises:
        UserError: no run, one named twice, a folder that holds none, or another number of titles than of chapters.
    """
    try:
        return _make_report(paths, command, titles, leads, notes)
    except (KeyError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        # Logs and records of these folders may be of others: what they lack or hold is open-ended.
        folders = ", ".join(map(str, paths))
        raise UserError(
            f"the logs, records or samples of {folders} are damaged, or no run's ({type(error).__name__}: {error})"
        ) from error


def _make_report(
    paths: Sequence[Path], command: str, titles: Sequence[str], leads: Sequence[str], notes: Sequence[str]
) -> str:
    runs = read_runs(paths)
    names = list(dict.fromkeys(run.modality for run in runs))
    for option, texts in (("title", titles), ("lead", leads)):
        if texts and len(texts) != len(names):
            raise UserError(f"--{option} is given {len(texts)} times, and the page has {len(names)} chapters")
    pages: dict[str, Page] = {}
    for name, title, lead in zip(names, titles or repeat(None), leads or repeat(None)):
        modality = find_modality(name)
        parts = (modality and modality.page_parts()) or PageParts(plural=modality.plural if modality else name)
        pages[name] = build_page(Chapter([run for run in runs if run.modality == name]), parts, title, lead)
    count = f"{in_letters(len(names)).capitalize()} modalities"
    return render(pages, count, f"{count}, a chapter each.", command, notes)
