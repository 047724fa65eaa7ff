"""Lists of transcripts: which of their columns is the text, and which sound a line speaks of."""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from mmgen.core.errors import UserError
from mmgen.core.text_file import read_lines
from mmgen.data.sources.scan import notice
from mmgen.data.sources.search import LeftAside

_DEEPEST = 64  # folders around a sound that a list may name
_START = 200  # characters by which texts are compared, in quadratic time
_ALIKE = 0.5  # share of a text that is left in it without abbreviations
_MOST = 4  # columns that can be told apart: name, text, text without abbreviations, and one more


class Row(NamedTuple):
    """A line of a list: what it names, what is said there, and where it stands."""

    name: str
    text: str
    place: str


def read_pairs(path: Path, separator: str, aside: LeftAside) -> list[Row]:
    """The lines of a list of NAME, `separator` or a tab, and the text, whatever is in that. Lines without a text are
    counted in `aside`. Raises UserError where it cannot be read.
    """
    rows = []
    for number, line in _lines(path):
        name, *text = re.split(rf"[{re.escape(separator)}\t]", line.strip(), maxsplit=1)
        if text:
            rows.append(Row(name.strip(), text[0].strip(), f"line {number} of {path.name}"))
        else:
            aside.add("line(s) without a text", f"line {number} of {path.name}")
    return rows


def read_columns(path: Path, aside: LeftAside) -> list[Row]:
    """The lines of a list as LJSpeech has it: NAME|text, or NAME|text|text without abbreviations, which is read where
    it is there, and perhaps a fourth column, which is not. Columns end at bars, or at tabs where the first line has a
    tab before its first bar. Lines with more columns than most are counted in `aside`, as a bar in a text cannot be
    told from one between columns, unless the third is like the second.

    Raises:
        UserError: it cannot be read, has no columns or more than four, or its third column is no text.
    """
    lines = _lines(path)
    ends = re.search(r"[|\t]", lines[0][1]) if lines else None
    separator = ends[0] if ends else "|"
    rows = [(number, [cell.strip() for cell in line.split(separator, _MOST)]) for number, line in lines]
    widths = Counter(len(cells) for _, cells in rows)
    width = max(widths, key=lambda each: (widths[each], each), default=0)
    if rows and not 2 <= width <= _MOST:
        number, _ = next((number, cells) for number, cells in rows if len(cells) == width)
        raise UserError(
            f"transcript {path}, line {number} has {width} column(s): a line is NAME|text or NAME|text|text without"
            " abbreviations, and no text has a | in it"
        )
    rows = [(number, cells) for number, cells in rows if _is_row(number, cells, width, path, aside)]
    _check_columns([cells for _, cells in rows], width, path)
    return [Row(cells[0], _text(cells), f"line {number} of {path.name}") for number, cells in rows]


def match_rows(rows: Iterable[Row], names: Sequence[str], aside: LeftAside, folder: str = "") -> dict[str, str]:
    """Sound -> what is said in it. A line names a sound by its path or by the last part of it, with its suffix or
    without. Lines that name no sound, sounds in several folders, or a sound that has another text already, are counted
    in `aside`.

    Args:
        rows: of a list.
        names: paths of all sounds.
        aside: to count in.
        folder: that paths in the list may be relative to.
    """
    ends: dict[str, list[str]] = {}
    whole: dict[str, list[str]] = {}
    for name in names:
        for path in (name, os.path.splitext(name)[0]):
            whole.setdefault(path, []).append(name)
            parts = path.split("/")
            for start in range(len(parts)):
                ends.setdefault("/".join(parts[start:]), []).append(name)
    texts: dict[str, str] = {}
    for row in rows:
        path = posixpath.normpath(row.name.replace("\\", "/"))
        parts = path.split("/")
        first = max(1, len(parts) - _DEEPEST)
        # Such as /data/LJSpeech-1.1/wavs/a.wav.
        longer = ("/".join(parts[start:]) for start in range(first, len(parts)))
        sounds = (
            whole.get(path)
            or whole.get(posixpath.join(folder, path))
            or ends.get(path)
            or next((whole[each] for each in longer if each in whole), [])
        )
        if not sounds:
            aside.add("line(s) that name no sound", f"{row.place}, {row.name}")
        elif len({os.path.splitext(sound)[0] for sound in sounds}) > 1:
            aside.add("line(s) that name several sounds", f"{row.place}, {row.name}: {sounds[0]} and {sounds[1]}")
        elif texts.get(sounds[0], row.text) != row.text:
            aside.add("line(s) with another text of a sound, whose first text is read", f"{row.place}, {row.name}")
        else:
            texts |= dict.fromkeys(sounds, row.text)
    return texts


def _lines(path: Path) -> list[tuple[int, str]]:
    """(number, line) of those that are not blank."""
    return [(number, line) for number, line in enumerate(read_lines(path, "transcript "), 1) if line.strip()]


def _is_row(number: int, cells: list[str], width: int, path: Path, aside: LeftAside) -> bool:
    """Whether the columns of a line can be told apart, in a list whose lines mostly have so many."""
    if len(cells) < 2:
        aside.add("line(s) without a text", f"line {number} of {path.name}")
        return False
    without = (
        width == 2 and len(cells) == 3 and SequenceMatcher(None, cells[1][:_START], cells[2][:_START]).ratio() >= _ALIKE
    )
    if len(cells) > width and not without:
        aside.add("line(s) with more columns than most, perhaps of a | in the text", f"line {number} of {path.name}")
        return False
    return True


def _text(cells: list[str]) -> str:
    return next((text for text in reversed(cells[1:3]) if text), "")


def _check_columns(rows: list[list[str]], width: int, path: Path) -> None:
    """Reports columns that are not read. A column with half as many different values as another has the names of
    speakers or the like.

    Raises:
        UserError: the third column has such names.
    """
    full = [cells for cells in rows if len(cells) == width and width > 2]
    second, third = (
        ({cells[column] for cells in full if cells[column]} for column in (1, 2)) if full else (set(), set())
    )
    if third and 2 * len(third) <= len(second):
        raise UserError(
            f"transcript {path}: the third column, such as {full[0][2]!r}, is to be the text without abbreviations, and"
            f" has {len(third)} different values for {len(second)} texts: leave it out, or put it fourth"
        )
    if second and 2 * len(second) <= len(third):
        notice(f"{path}: the second column, such as {full[0][1]!r}, is not read; the third is the text")
    if width == _MOST:
        notice(f"{path}: the fourth column, such as {full[0][3]!r}, is not read; the third is the text")
