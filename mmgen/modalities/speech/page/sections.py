"""The sections of a page on speech, a function each: a new section is one function more, in `PARTS`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgen.media.audio import read_audio, read_header
from mmgen.media.spectrogram import spectrogram
from mmgen.modalities.speech.page.sounds import columns_of, player
from mmgen.page.chapter import Chapter, Column
from mmgen.page.page import Picture, Section, fill_from
from mmgen.page.parts import Headline, PageParts
from mmgen.page.runs import SampleFolder
from mmgen.page.tiles import picture, pixels
from mmgen.page.wording import describe_tokens, join_words
from mmgen.store.results import base_metric

fill = partial(fill_from, Path(__file__).parent / "templates")
RECORDED = Column("The recording")
_SENTENCES = 8
"""That are entries, at most."""
_GAP = 6  # transparent rows between spectrograms

Sound = tuple[Column, Path, str | None]
"""What is transcript: its column, its file, and what a recogniser wrote down."""


def listen(chapter: Chapter) -> Section | None:
    """Every sentence: recorded, coded, and errors in every mode; a row for each text and voice."""
    sentences = _sentences(chapter)
    if not sentences:
        return None
    entries = dict(list(sentences.items())[:_SENTENCES])
    rate = _rate(next(iter(entries.values()))[0][1])
    sounds = {file: _read(file, rate) for rows in entries.values() for _, file, _ in rows}
    columns = columns_of(list(sounds.values()), rate)
    rows = [
        {
            "text": text,
            "voice": voice,
            "rows": [_row(each, text, sounds[each[1]], rate, columns) for each in sentence],
        }
        for (text, voice), sentence in entries.items()
    ]
    folders = [*chapter.reconstruction_columns(), *_said(chapter)]
    recogniser = next((folder.record["judge"] for _, folder, _ in folders if folder.record.get("judge")), None)
    tokens = {run.name: describe_tokens(run.spec) for run in chapter.tokenizers}
    body = fill(
        "listen.html", sentences=rows, lines=[folder.command for _, folder, _ in folders], recogniser=recogniser,
        tokens=tokens,
    )  # fmt: skip
    return Section("listen", "Sentences", body)


def _row(sound: Sound, text: str, samples: Tensor, rate: int, columns: int) -> dict[str, Any]:
    column, _, transcript = sound
    return {
        "column": column,
        "transcript": transcript,
        "player": player(samples, rate, f"{column.title}: {text}", columns),
    }


def _sentences(chapter: Chapter) -> dict[tuple[str, str], list[Sound]]:
    """(text, voice) -> what there is to be transcript of it, its recording first."""
    matches: dict[tuple[str, str], list[Sound]] = {}
    for _, folder, column in (*chapter.reconstruction_columns(), *_said(chapter)):
        texts, voices = folder.names("texts"), folder.record.get("voices") or []
        transcript, recordings = folder.record.get("transcripts") or [], folder.recordings(".wav")
        for place, file in enumerate(folder.files(".wav")[: len(texts)]):
            voice = str(voices[place] or "") if place < len(voices) else ""
            rows = matches.setdefault((texts[place], voice), [])
            real = recordings[place]
            if real is not None and not any(each is RECORDED for each, *_ in rows):
                rows.insert(0, (RECORDED, real, None))
            if not any(each == column for each, *_ in rows):  # the same sentence may be drawn twice
                rows.append((column, file, transcript[place] if place < len(transcript) else None))
    return matches


def _said(chapter: Chapter) -> list[tuple[Any, SampleFolder, Column]]:
    return list(chapter.sample_columns(lambda folder: "to" not in folder.record))


def edits(chapter: Chapter) -> Section | None:
    """Recordings before and after words in them were replaced; None where there are none."""
    matches = [
        (folder, column)
        for _, folder, column in chapter.sample_columns(lambda folder: "to" in folder.record)
        if (folder.path / "original.wav").exists()
    ]
    if not matches:
        return None
    entries = []
    for folder, column in matches:
        record, rate = folder.record, int(folder.record["sample_rate"])
        before, after = (_read(folder.path / name, rate) for name in ("original.wav", "edited.wav"))
        columns, span = columns_of([before, after], rate), record["replaced_seconds"]
        kept = 100 * (1 - (span[1] - span[0]) / (len(before) / rate))
        entries.append({
            "old": record["text"], "new": record["to"], "transcript": record.get("transcript"), "column": column,
            "before": player(before, rate, f"{RECORDED.title}: {record['text']}", columns, span),
            "after": player(after, rate, f"Edited: {record['to']}", columns, record["made_seconds"]),
            "kept": f"{kept:.0f}", "command": folder.command,
        })  # fmt: skip
    return Section("edits", "Other words in a recording", fill("edits.html", edits=entries))


def opening_picture(chapter: Chapter) -> Picture | None:
    """The sentence that most ways say: its recording and the first modes, a spectrogram each."""
    sentences = _sentences(chapter)
    if not sentences:
        return None
    longest = max(sentences.values(), key=len)
    rows = [longest[0], *(sound for sound in longest[1:] if sound[0].how or len(longest) < 4)][:3]
    rate = _rate(rows[0][1])
    drawn = [pixels(spectrogram(_read(file, rate), rate), 2) for _, file, _ in rows]
    width = max(each.shape[1] for each in drawn)
    padded = [np.pad(each, ((0, _GAP), (0, width - each.shape[1]), (0, 0))) for each in drawn]
    names = join_words([column.title.lower() for column, *_ in rows])
    return picture(np.concatenate(padded)[:-_GAP], f"Spectrograms of one sentence, from above: {names}.")


def word_errors(chapter: Chapter) -> Section | None:
    """How many words are wrong, a sentence for each mode; None where nobody listened."""
    errors: Sequence[dict[str, Any]] = [
        {"column": chapter.column(run, each.mode), "figure": each}
        for run in chapter.generators
        for each in run.figures
        if base_metric(each.metric, each.extractor) == "wer"
    ]
    return Section("words", "Words that are understood", fill("words.html", errors=errors)) if errors else None


def _rate(file: Path) -> int:
    return read_header(file).sample_rate


def _read(file: Path, rate: int) -> Tensor:
    """(T,) in [-1, 1]."""
    sound: Tensor = read_audio(file, rate)
    return torch.as_tensor(sound).flatten()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


PARTS = PageParts(
    sections=(listen, edits, word_errors),
    opening_picture=opening_picture,
    headlines=(
        Headline("wer", "of words are wrong at best ({way})", write=_percent),
        Headline("wer_floor", "in the recordings themselves", write=_percent),
        Headline("seconds_per_second", "to say a second, at best ({way})"),
        Headline("pesq", "PESQ of what a codec leaves, at best"),
    ),
    plural="speech",
)
