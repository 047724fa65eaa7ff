"""What is said in the sound files of a folder, and by whom, in the layouts that data sets of speech have."""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mmgen.core.errors import UserError
from mmgen.core.text_file import read_lines, read_text
from mmgen.data.sources.scan import SOUNDS
from mmgen.data.sources.search import find_files

_COMPANIONS = (".txt", ".tsv", ".csv")  # endings of files with transcripts
_LISTS = ("transcripts.txt", "transcripts.tsv")


class Utterance(NamedTuple):
    """A sound file: its path, relative to the folder, what is said in it and who speaks; None where that is unknown."""

    name: str
    text: str | None
    speaker: str | None = None


def find_utterances(root: Path, transcripts: bool = True) -> list[Utterance]:
    """All sound files beneath a folder, sorted, with what its layout tells of them.

    - LJSpeech: `wavs/NAME.wav`, and in `metadata.csv` lines NAME|text or NAME|text|text without abbreviations.
    - LibriSpeech and LibriTTS: SPEAKER/CHAPTER/NAME.flac, beneath any folder; `*.trans.txt` with lines NAME text, or
      `NAME.normalized.txt`.
    - Otherwise: NAME.txt beside NAME.wav, or `transcripts.txt` or `transcripts.tsv` in the folder itself with lines
      NAME, a tab or |, and the text. Where all files lie in folders, the outermost are the speakers.

    Raises:
        UserError: it is no folder, has no sound files, or a file of transcripts cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: data.source.root must hold sound files and their transcripts")
    names = find_files(root, SOUNDS, companions=_COMPANIONS)
    if not names:
        raise UserError(f"{root} holds no sounds: put wav or flac files into it, with a text file NAME.txt for each")
    metadata = root / "metadata.csv"
    if metadata.is_file() and (root / "wavs").is_dir():
        table = _lines(metadata, "|", last=True) if transcripts else {}
        return [Utterance(name, table.get(Path(name).stem)) for name in names if name.startswith("wavs")]
    texts: dict[str, str | None]
    speaker: int | None = -3  # place of the speaker's folder in a path
    if _has_chapters(root, names):

        @cache
        def chapter(folder: Path) -> dict[str, str]:
            lists = sorted(folder.glob("*.trans.txt")) if transcripts else []
            return {key: text for path in lists for key, text in _lines(path, " ").items()}

        texts = {name: chapter((root / name).parent).get(Path(name).stem) for name in names}
        ending = ".normalized.txt"
        names = [name for name in names if len(Path(name).parts) > 2]
    else:
        lists = [root / name for name in _LISTS if transcripts and (root / name).is_file()]
        listed = {key: text for path in lists for key, text in _lines(path, "|").items()}
        keys = {name: (name, os.path.splitext(name)[0], Path(name).stem) for name in names}
        texts = {name: next((listed[key] for key in keys[name] if key in listed), None) for name in names}
        ending, speaker = ".txt", 0 if all(len(Path(name).parts) > 1 for name in names) else None
    utterances = []
    for name in names:
        path, text = (root / name).with_suffix(ending), texts[name]
        if text is None and transcripts and path.is_file():
            text = read_text(path, "transcript ")
        utterances.append(Utterance(name, text, None if speaker is None else Path(name).parts[speaker]))
    return utterances


def _has_chapters(root: Path, names: Iterable[str]) -> bool:
    """Whether these are of LibriSpeech or LibriTTS, as the first file shows that lies in two folders."""
    path = next((root / name for name in names if len(Path(name).parts) > 2), None)
    lists = [] if path is None else [*path.parent.glob("*.trans.txt"), path.with_suffix(".normalized.txt")]
    return any(each.is_file() for each in lists)


def _lines(path: Path, separator: str, last: bool = False) -> dict[str, str]:
    """Name -> text of lines of both, with a `separator` or a tab between; where `last`, the text is what comes after
    the last separator, if anything.
    """
    table = {}
    for line in read_lines(path, "transcript "):
        name, *texts = re.split(rf"[{re.escape(separator)}\t]", line.strip(), maxsplit=2 if last else 1)
        if texts:
            table[name.strip()] = next((text for text in reversed(texts) if text.strip()), "")
    return table
