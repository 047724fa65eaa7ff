"""What is said in the sound files of a folder, and by whom, in the layouts that data sets of speech have."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import SOUNDS, files, read_text

_LISTS = ("transcripts.txt", "transcripts.tsv")


class Utterance(NamedTuple):
    """A sound file.

    Attributes:
        name: its path, relative to the folder.
        said: what is said in it; None where that is unknown.
        speaker: who says it; None where the layout does not say.
    """

    name: str
    said: str | None
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
    names = list(files(root, SOUNDS))
    if not names:
        raise UserError(f"{root} holds no sounds: put wav or flac files into it, with a text file NAME.txt for each")
    metadata = root / "metadata.csv"
    if metadata.is_file() and (root / "wavs").is_dir():
        said = _lines(metadata, "|", last=True) if transcripts else {}
        return [Utterance(name, said.get(Path(name).stem)) for name in names if name.startswith("wavs")]
    chapters = _chapters(root, names)
    if chapters:
        said = _by_chapter(root, names) if transcripts else {}
        return [Utterance(name, said.get(name), Path(name).parts[-3]) for name in names if len(Path(name).parts) > 2]
    said = _by_name(root, names) if transcripts else {}
    foldered = all(len(Path(name).parts) > 1 for name in names)
    return [Utterance(name, said.get(name), Path(name).parts[0] if foldered else None) for name in names]


def _chapters(root: Path, names: Iterable[str]) -> bool:
    """Whether these are of LibriSpeech or LibriTTS, told by the first file that lies in two folders."""
    for name in names:
        path = Path(name)
        if len(path.parts) > 2:
            folder = root / path.parent
            return next(folder.glob("*.trans.txt"), None) is not None or _normalized(root, name).is_file()
    return False


def _normalized(root: Path, name: str) -> Path:
    return (root / name).with_suffix(".normalized.txt")


def _by_chapter(root: Path, names: Iterable[str]) -> dict[str, str]:
    said, chapters = {}, {}
    for name in names:
        folder = os.path.dirname(name)
        if folder not in chapters:
            lists = sorted((root / folder).glob("*.trans.txt"))
            chapters[folder] = {key: text for each in lists for key, text in _lines(each, " ").items()}
        text = chapters[folder].get(Path(name).stem)
        if text is None and _normalized(root, name).is_file():
            text = read_text(_normalized(root, name), "transcript ")
        if text is not None:
            said[name] = text
    return said


def _by_name(root: Path, names: Iterable[str]) -> dict[str, str]:
    listed = {key: text for each in _LISTS if (root / each).is_file() for key, text in _lines(root / each, "|").items()}
    said = {}
    for name in names:
        bare = os.path.splitext(name)[0]
        text = listed.get(name, listed.get(bare, listed.get(os.path.basename(bare))))
        if text is None and (root / f"{bare}.txt").is_file():
            text = read_text(root / f"{bare}.txt", "transcript ")
        if text is not None:
            said[name] = text
    return said


def _lines(path: Path, separator: str, last: bool = False) -> dict[str, str]:
    """Name -> text of lines of both, with a `separator` or a tab between; where `last`, the text is what comes after
    the last separator, if anything.
    """
    said = {}
    for line in read_text(path, "transcript ").splitlines():
        name, *texts = re.split(rf"[{re.escape(separator)}\t]", line.strip(), maxsplit=2 if last else 1)
        if texts:
            said[name.strip()] = next((text for text in reversed(texts) if text.strip()), "")
    return said
