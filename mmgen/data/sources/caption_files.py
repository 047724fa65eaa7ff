"""Captions of the files of a folder: `NAME.txt` beside a file, `metadata.jsonl`, or `captions.csv`."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.core.json_file import parse_json
from mmgen.core.text_file import read_lines, read_text, split_lines
from mmgen.core.vocabulary import FreeText
from mmgen.data.sources.base import SplitName
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import Kind, notice
from mmgen.data.sources.search import search_folder

KEYS = ("caption", "text")
"""What captions are called in tables, and in the JSON files of shards; the first that is there counts."""

_TEXTS = Kind("caption", frozenset((".txt",)))

Rows = Iterable[tuple[int, dict[Any, Any] | str]]
"""Line and content of each row, or what is wrong with it."""


def add_captions(listings: Mapping[SplitName, Listing], root: Path, word: str) -> dict[SplitName, Listing]:
    """The same files with their captions, where any has one; files without one are counted and reported in one line.

    A file's captions are the lines of the text file of its name, and those that a table in the folder of its split, or
    in `root`, gives it: `metadata.jsonl`, lines with `file_name` and `text` or `caption` (as Hugging Face's imagefolder
    has them), or `captions.csv`, with the same columns. Names are relative to the table. All of them count.

    Args:
        listings: of each split.
        root: the folder of all splits.
        word: what one of the files is called.

    Raises:
        UserError: a caption file that cannot be read, is damaged, or speaks of a file that is not there.
    """
    captions = {split: Captions.of(_read(listing, root)) for split, listing in listings.items()}
    if all(part.missing == len(part) for part in captions.values()):
        return dict(listings)
    if report_missing(root, captions.values(), word):
        for folder in dict.fromkeys(listing.root for listing in listings.values()):
            names = [name for each in listings.values() if each.root == folder for name in each.all_names()]
            report_texts_alone(folder, names, word)
    return {split: replace(listing, captions=captions[split]) for split, listing in listings.items()}


def vocabulary_of(listings: Iterable[Listing]) -> FreeText | None:
    """Of the captions of all listings; None where they have none."""
    captions = [listing.captions for listing in listings if listing.captions is not None]
    return reduce(Captions.__add__, captions).vocabulary() if captions else None


def report_missing(root: Path, captions: Iterable[Captions], word: str) -> bool:
    """Says how many of all files have no caption, if some have none. Whether some have none."""
    missing, total = (sum(column) for column in zip(*((part.missing, len(part)) for part in captions)))
    if missing:
        notice(f"{root}: {missing:,} of {total:,} {word}s have no caption")
    return missing > 0


def report_texts_alone(root: Path, names: Iterable[str], word: str) -> None:
    """Says how many text files in a folder have the name of none of these files, if there are some: where files lack
    their texts, these may be they.
    """
    stems = {os.path.splitext(name)[0] for name in names}
    alone = [text for text in search_folder(root, _TEXTS).names if os.path.splitext(text)[0] not in stems]
    if alone:
        notice(f"{root}: {len(alone):,} text file(s) have the name of no {word} ({alone[0]})")


def clean_captions(value: Any) -> list[str]:
    """The captions that a text, a list of texts, or None stands for: none of them empty, white space single blanks.

    Raises:
        ValueError: it is something else, or no Unicode.
    """
    texts = [] if value is None else value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"a caption must be a text or a list of texts, got {value!r:.60}")
        text.encode()  # a lone surrogate of a JSON file is no character
    return [text for text in (" ".join(each.split()) for each in texts) if text]


def _read(listing: Listing, root: Path) -> list[list[str]]:
    """The captions of every file."""
    names = listing.all_names()
    places = {name: place for place, name in enumerate(names)}
    captions: list[list[str]] = [[] for _ in names]
    for folder in dict.fromkeys((listing.root, root)):
        for name, read in _TABLES.items():
            if (folder / name).is_file():
                for file, texts in _of_table(folder / name, read, listing.root, places):
                    captions[places[file]] += texts
    text_files = {os.path.splitext(name)[0]: name for name in search_folder(listing.root, _TEXTS).names}
    with_text = [(place, text_files.get(os.path.splitext(name)[0])) for place, name in enumerate(names)]
    paths = {place: listing.root / name for place, name in with_text if name is not None}
    with ThreadPoolExecutor(8) as pool:  # opening waits for the disk more than for the processor
        for place, lines in zip(paths, pool.map(read_lines, paths.values())):
            captions[place] += clean_captions(lines)
    return [list(dict.fromkeys(texts)) for texts in captions]


def _of_table(
    path: Path, read: Callable[[str], Rows], root: Path, places: Mapping[str, int]
) -> Iterator[tuple[str, list[str]]]:
    """(file of `places`, its captions) of every row of a table. Raises UserError with the line that is wrong."""
    folder = os.path.relpath(root, path.parent)
    inside = "" if folder == "." else folder + os.sep
    for line, row in read(read_text(path)):
        try:
            if isinstance(row, str):
                raise ValueError(row)
            name = row.get("file_name")
            if not isinstance(name, str) or not name:
                raise ValueError("there is no file_name")
            texts = clean_captions(next((row[key] for key in KEYS if key in row), None))
            file = os.path.normpath(name)
            if file.startswith(inside) and file[len(inside) :] in places:
                yield file[len(inside) :], texts
            elif "\0" in name or not (path.parent / name).is_file():
                raise ValueError(f"there is no file {name!r} in {path.parent}")
        except ValueError as error:
            raise UserError(f"{path}, line {line}: {error}") from None


def _json_rows(text: str) -> Rows:
    for line, content in enumerate(split_lines(text), 1):
        if content.strip():
            try:
                row = parse_json(content)
            except ValueError as error:
                yield line, f"this is no JSON ({error})"
            wrong = f"a line must be an object with file_name and text, got {content.strip()!r:.60}"
            yield line, row if isinstance(row, dict) else wrong


def _csv_rows(text: str) -> Rows:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = rows.fieldnames or []
        if len(set(columns)) < len(columns):
            yield 1, f"a column is there twice: {', '.join(columns)}"
        if "file_name" not in columns or not any(key in columns for key in KEYS):
            yield 1, f"the columns must be file_name and caption, got {', '.join(columns) or 'none'}"
        for row in rows:
            if None in row or None in row.values():
                wrong = f"there are {'more' if None in row else 'fewer'} columns than in line 1"
                yield rows.line_num, f"{wrong}: a caption with commas needs quotes"
            yield rows.line_num, row
    except csv.Error as error:
        yield rows.reader.line_num, f"this is no CSV ({error})"


_TABLES: dict[str, Callable[[str], Rows]] = {"metadata.jsonl": _json_rows, "captions.csv": _csv_rows}
