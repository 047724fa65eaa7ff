"""A page about runs: those of one modality side by side, those of several modalities in chapters."""

import os
import tempfile
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

from mmgen.apps.report.modalities import page_parts
from mmgen.core.errors import UserError
from mmgen.page.chapter import chapters_of
from mmgen.page.page import render
from mmgen.page.parts import build_page
from mmgen.page.runs import read_runs
from mmgen.page.wording import in_letters


def make_report(
    paths: Sequence[Path],
    command: str,
    titles: Sequence[str] = (),
    leads: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """The page as HTML.

    Args:
        paths: run folders, exports, or RUN/MEMBER of joint runs.
        command: that makes the page.
        titles: of each chapter; the names of its runs by default.
        leads: first sentences of each chapter; what its runs are by default.
        notes: sentences below those of the whole.

    Raises:
        UserError: no run, one named twice, a folder that holds none, or another number of titles than of chapters.
    """
    chapters = chapters_of(read_runs(paths))
    for option, given in (("title", titles), ("lead", leads)):
        if given and len(given) != len(chapters):
            raise UserError(f"--{option} is given {len(given)} times, and the page has {len(chapters)} chapters")
    pages = {
        modality: build_page(chapter, page_parts(modality), title, lead)
        for (modality, chapter), title, lead in zip(chapters.items(), titles or repeat(None), leads or repeat(None))
    }
    count = f"{in_letters(len(chapters)).capitalize()} modalities"
    return render(pages, count, f"{count}, a chapter each.", command, notes)


def write_report(page: str, file: Path) -> None:
    """Write the page at one stroke. Raises UserError where that is not possible."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as opened:
            opened.write(page)
        os.chmod(opened.name, 0o644)
        os.replace(opened.name, file)
    except OSError as error:
        raise UserError(f"--out {file} cannot be written: {error.strerror}; choose another") from None
