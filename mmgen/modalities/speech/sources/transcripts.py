"""What is said in the sound files of a folder, and by whom, in the layouts that data sets of speech have."""

import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mmgen.core.errors import UserError
from mmgen.core.text_file import read_text
from mmgen.data.sources.caption_files import report_texts_alone
from mmgen.data.sources.folder_layout import readable_name, report_wrapper, split_of
from mmgen.data.sources.scan import SOUNDS, notice
from mmgen.data.sources.search import LeftAside, search_folder
from mmgen.modalities.speech.sources.transcript_lists import match_rows, read_columns, read_pairs

_COMPANIONS = (".txt", ".tsv", ".csv")  # endings of files with transcripts
_WAVS = "wavs"
_METADATA = "metadata.csv"
_LISTS = ("transcripts.txt", "transcripts.tsv")


class Utterance(NamedTuple):
    """A sound file: its path, relative to the folder, what is said in it and who speaks; None where that is unknown."""

    name: str
    text: str | None
    speaker: str | None = None


def find_utterances(root: Path, transcripts: bool = True) -> list[Utterance]:
    """All sound files beneath a folder, sorted, with what its layout tells of them.

    - LJSpeech: `wavs/NAME.wav`, and in `metadata.csv` lines NAME|text or NAME|text|text without abbreviations; other
      folders beside `wavs` are not read.
    - LibriSpeech and LibriTTS: SPEAKER/CHAPTER/NAME.flac, beneath any folder; `*.trans.txt` with lines NAME text, or
      `NAME.normalized.txt`.
    - Otherwise: NAME.txt beside NAME.wav, or `transcripts.txt` or `transcripts.tsv` in the folder itself with lines
      NAME, a tab or |, and the text. Where all files lie in several folders, the outermost are the speakers, but for
      those of splits (`train`).

    All may lie one folder deeper, as archives unpack.

    Raises:
        UserError: it is no folder, has no sound files, or a file of transcripts cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: data.source.root must hold sound files and their transcripts")
    contents = search_folder(root, SOUNDS, companions=_COMPANIONS)
    contents.left_aside.report(root)
    if not contents.names:
        raise UserError(f"{root} holds no sounds: put wav or flac files into it, with a text file NAME.txt for each")
    wrapper = contents.wrapper()
    listed = any((root / name).is_file() for name in (_METADATA, *_LISTS))
    if not wrapper or listed or _has_chapters(root, contents.names):
        return _find_utterances(root, contents.names, transcripts)
    report_wrapper(root, wrapper)
    utterances = _find_utterances(root / wrapper, contents.within(wrapper).names, transcripts)
    return [each._replace(name=os.path.join(wrapper, each.name)) for each in utterances]


def _find_utterances(root: Path, names: list[str], transcripts: bool) -> list[Utterance]:
    aside = LeftAside()
    metadata = root / _METADATA
    if metadata.is_file() and (root / _WAVS).is_dir():
        inside = [name for name in names if Path(name).parts[0] == _WAVS]
        if len(inside) < len(names):
            other = next(name for name in names if Path(name).parts[0] != _WAVS)
            notice(f"{root}: {len(names) - len(inside)} sound(s) outside the folder {_WAVS} are not read ({other})")
        table = match_rows(read_columns(metadata, aside), inside, aside, _WAVS) if transcripts else {}
        aside.report(root)
        return [Utterance(name, table.get(name)) for name in inside]
    speaker: int | None = -3  # place of the speaker's folder in a path
    table = {}
    if _has_chapters(root, names):
        outside = [name for name in names if len(Path(name).parts) < 3]
        if outside:
            notice(f"{root}: {len(outside)} sound(s) outside SPEAKER/CHAPTER are not read ({outside[0]})")
        names = [name for name in names if len(Path(name).parts) > 2]
        for folder, group in groupby(names, os.path.dirname) if transcripts else ():
            lists = sorted((root / folder).glob("*.trans.txt"))
            table |= match_rows((row for path in lists for row in read_pairs(path, " ", aside)), list(group), aside)
        ending = ".normalized.txt"
    else:
        lists = [root / name for name in _LISTS if transcripts and (root / name).is_file()]
        table = match_rows((row for path in lists for row in read_pairs(path, "|", aside)), names, aside)
        if metadata.is_file() and not lists and transcripts:
            notice(f"{metadata} is not read: there is no folder {_WAVS} beside it")
        ending, speaker = ".txt", _speaker_folder(root, names)
    aside.report(root)
    _report_same_names(root, names)
    utterances = []
    for name in names:
        path, text = (root / name).with_suffix(ending), table.get(name)
        if text is None and transcripts and path.is_file():
            text = read_text(path, "transcript ")
        utterances.append(Utterance(name, text, None if speaker is None else readable_name(Path(name).parts[speaker])))
    if transcripts and ending == ".txt" and any(each.text is None for each in utterances):
        report_texts_alone(root, (*names, *_LISTS), SOUNDS.word)
    return utterances


def _speaker_folder(root: Path, names: Iterable[str]) -> int | None:
    """The place of the speaker's folder in a path: the outermost that is none of a split; None where there is none, or
    one folder alone.

    Raises:
        UserError: some of the outermost folders are named as splits are, and some are not.
    """
    parts = [Path(name).parts for name in names]
    outer = sorted({each[0] for each in parts if len(each) > 1})
    splits = [folder for folder in outer if split_of(folder, SOUNDS)]
    if any(len(each) < 2 for each in parts):
        return None
    if not splits:
        return 0 if len(outer) > 1 else None
    if len(splits) < len(outer):
        other = next(folder for folder in outer if folder not in splits)
        raise UserError(f"{root} has a folder {splits[0]} beside {other}: a split or a speaker? Move one of them out")
    notice(f"{root}: the folders {', '.join(splits)} are no speakers; what is held out is said by data.source.held_out")
    return 1 if all(len(each) > 2 for each in parts) else None


def _report_same_names(root: Path, names: Iterable[str]) -> None:
    """Says how many sounds share a transcript with another one, as only their suffixes differ."""
    same = [[*group] for _, group in groupby(sorted(names), lambda name: os.path.splitext(name)[0])]
    if several := [group for group in same if len(group) > 1]:
        count, (one, other, *_) = sum(map(len, several)), several[0]
        notice(f"{root}: {count} sound(s) differ from another only in the suffix, and share its text ({one}, {other})")


def _has_chapters(root: Path, names: Iterable[str]) -> bool:
    """Whether these are of LibriSpeech or LibriTTS, as the first file shows that lies in two folders."""
    path = next((root / name for name in names if len(Path(name).parts) > 2), None)
    lists = [] if path is None else [*path.parent.glob("*.trans.txt"), path.with_suffix(".normalized.txt")]
    return any(each.is_file() for each in lists)
