"""The samples of a .tar shard as WebDataset lays them out: the files of one key belong together, wherever they stand.

A sample is an image, `000017.jpg`, with `000017.cls` (a number) or `000017.json` (with `label`, `cls` or `class`), and
`000017.txt` (a caption a line) or `000017.json` (with `caption` or `text`). The key ends at the first dot of a name, or
at its last dot where no file of the shorter key has a plain ending.
"""

import json
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmgen.core.errors import UserError
from mmgen.core.json_file import parse_json
from mmgen.core.text_file import decode_text, split_lines
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.caption_files import KEYS, clean_captions
from mmgen.data.sources.scan import IMAGES, notice
from mmgen.data.sources.search import LeftAside
from mmgen.modalities.image.sources.tar_file import TarMember, list_tar

LARGEST_IMAGE = 2**29
"""Bytes of a compressed image at most."""
HIGHEST_LABEL = 2**20
"""Number of a class at most."""
LABEL_ALONE = "label(s) without an image"
"""Why a .cls file is left aside."""
_LARGEST_TEXT = 2**22  # bytes
_LABELS = ("label", "cls", "class")
_TEXTS = ("cls", "json", "txt")


@dataclass
class Remarks:
    """What is to be reported of shards: what in them is not read, and what is read in another way than it says."""

    left_aside: LeftAside = field(default_factory=LeftAside)
    guessed: LeftAside = field(default_factory=LeftAside)

    @classmethod
    def of(cls, parts: Iterable["Remarks"]) -> "Remarks":
        """All of them, counted together."""
        whole = cls()
        for part in parts:
            for own, other in ((whole.left_aside, part.left_aside), (whole.guessed, part.guessed)):
                own.counts.update(other.counts)
                own.examples = other.examples | own.examples
        return whole

    def to_json(self) -> str:
        """As an index keeps them: (reason, number, example) of each."""
        parts = (self.left_aside, self.guessed)
        return json.dumps([[[why, each.counts[why], each.examples[why]] for why in each.counts] for each in parts])

    @classmethod
    def from_json(cls, text: str) -> "Remarks":
        """Raises ValueError or TypeError where the text is none of `to_json`."""
        left_aside, guessed = parse_json(text)
        remarks = cls()
        for own, rows in ((remarks.left_aside, left_aside), (remarks.guessed, guessed)):
            for why, number, example in rows:
                if not isinstance(why, str) or not isinstance(number, int) or not isinstance(example, str):
                    raise ValueError("its remarks are none")
                own.counts[why], own.examples[why] = number, example
        return remarks

    def report(self, folder: Path) -> None:
        """Logs them, in a line for what is not read, and one for each guess."""
        self.left_aside.report(folder)
        for reason, number in self.guessed.counts.items():
            notice(f"{folder}: {number} {reason} ({self.guessed.examples[reason]})")


class Place(NamedTuple):
    """Of one sample: the image's name in the shard, its first byte and their number, the label, and the captions."""

    name: str
    offset: int
    size: int
    label: int
    captions: list[str]


Files = dict[str, list[TarMember]]
"""The files of one key, by ending."""


def find_samples(path: Path, remarks: Remarks) -> list[Place]:
    """The samples of a shard, in the order of their images. Files that belong to none are counted in `remarks`.

    Raises:
        UserError: the shard is cut off or damaged, has a text that says nothing, or it cannot be told which label or
            caption is of which image.
    """
    places: list[Place] = []
    with path.open("rb") as shard:
        for files in _by_key(list_tar(path, remarks.left_aside), path.name, remarks):
            try:
                places += _samples_of_key(files, shard.fileno(), path.name, remarks)
            except (UserError, ValueError, OSError) as error:
                raise UserError(f"shard {path}: {' '.join(str(error).split())}") from None
    return places


def _by_key(members: Iterable[TarMember], archive: str, remarks: Remarks) -> Iterator[Files]:
    """The files of each key, in order of its first one."""
    short: dict[tuple[int, str, str], Files] = {}
    for member in members:
        folder, name = posixpath.split(member.name)
        stem, _, ending = name.partition(".")
        short.setdefault((member.part, folder, stem), {}).setdefault(ending.lower(), []).append(member)
    for files in short.values():
        if any(_is_image(ending) or ending in _TEXTS for ending in files):
            yield files
            continue
        long: dict[str, Files] = {}
        for ending, same in files.items():
            last = ending.rpartition(".")[2]
            for member in same:
                long.setdefault(member.name.rpartition(".")[0], {}).setdefault(last, []).append(member)
            if _is_image(last):
                for member in same:
                    remarks.guessed.add("sample(s) with a dot in the key", f"{member.name} in {archive}")
        yield from long.values()


def _samples_of_key(files: Files, shard: int, archive: str, remarks: Remarks) -> Iterator[Place]:
    """The sample of a key; several where its files stand in the shard several times."""
    aside = remarks.left_aside
    first = {ending: same[0] for ending, same in files.items()}
    plain = [ending for ending in files if _is_image(ending)]  # or `000.image.png` beside `000.cls`
    images = sorted(plain or (end for end in files if _is_image(end.rpartition(".")[2])), key=lambda e: first[e].offset)
    texts = [ending for ending in files if ending in _TEXTS]
    for ending, same in files.items():
        for member in same:
            if ending in texts and not images:
                why = LABEL_ALONE if ending == "cls" else "text(s) without an image"
                aside.add(why, f"{member.name} in {archive}")
            elif ending in images[1:]:
                where = f"{member.name} in {archive}, beside {first[images[0]].name}"
                aside.add("second image(s) of a sample", where)
            elif ending not in (*texts, *images[:1]):
                aside.add(f"file(s) with the suffix .{ending}", f"{member.name} in {archive}")
    if not images:
        return
    same = files[images[0]]
    for ending in texts:
        if len(files[ending]) != len(same):
            raise ValueError(
                f"{same[0].name} is there {len(same)} time(s) and {first[ending].name} {len(files[ending])} time(s):"
                " it cannot be told which belong together"
            )
    for number, image in enumerate(same):
        if number:
            remarks.guessed.add("sample(s) with the name of another one", f"{image.name} in {archive}")
        if image.size > LARGEST_IMAGE:
            aside.add(f"image(s) of more than {LARGEST_IMAGE >> 20} MiB", f"{image.name} in {archive}")
            continue
        label, captions = _read_texts([files[ending][number] for ending in texts], shard, archive, remarks)
        yield Place(image.name, image.offset, image.size, label, captions)


def _is_image(ending: str) -> bool:
    return f".{ending}" in IMAGES.suffixes


def _read_texts(members: Sequence[TarMember], shard: int, archive: str, remarks: Remarks) -> tuple[int, list[str]]:
    """The label and the captions of a sample. Raises ValueError or UserError, with the file that is wrong."""
    labels, captions = dict[int, str](), list[str]()
    for member in members:
        if member.size > _LARGEST_TEXT:
            raise ValueError(f"{member.name} has {member.size:,} bytes, more than the texts of a sample have")
        text = decode_text(os.pread(shard, member.size, member.offset), member.name)
        try:
            if member.name.lower().endswith(".txt"):
                captions += clean_captions(split_lines(text))
                continue
            content = {"cls": _number(text)} if member.name.lower().endswith(".cls") else parse_json(text)
            if not isinstance(content, dict):
                remarks.left_aside.add("JSON file(s) without an object", f"{member.name} in {archive}")
                continue
            if not any(name in content for name in (*_LABELS, *KEYS)):
                remarks.left_aside.add("JSON file(s) without a label or a caption", f"{member.name} in {archive}")
            captions += clean_captions(next((content[name] for name in KEYS if name in content), None))
            label = next((content[name] for name in _LABELS if content.get(name) is not None), NO_CLASS)
            if isinstance(label, bool) or not isinstance(label, int) or not NO_CLASS <= label <= HIGHEST_LABEL:
                raise ValueError(f"the label {label!r:.60} is no number from 0 to {HIGHEST_LABEL:,}")
            if label != NO_CLASS:
                labels[label] = member.name
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{member.name}: {' '.join(str(error).split())}") from None
    if len(labels) > 1:
        raise ValueError(" and ".join(f"{name} has the label {label}" for label, name in labels.items()))
    return next(iter(labels), NO_CLASS), list(dict.fromkeys(captions))


def _number(text: str) -> Any:
    """`int` reads 1_0 and full-width digits, too."""
    return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text, re.ASCII) else text.strip()
