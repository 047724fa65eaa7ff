"""The sections of a page on speech, a function each: a new section is one function more, in `PARTS`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from mmgen.media.audio import read_audio, read_header, wav_bytes
from mmgen.media.spectrogram import spectrogram
from mmgen.page.chapter import Card, Chapter, Column, Sample, Way, side_by_side
from mmgen.page.page import Picture, Section, data_uri, macros, parts
from mmgen.page.parts import Headline, PageParts
from mmgen.page.runs import SampleFolder
from mmgen.page.tiles import Pixels, picture, pixels
from mmgen.page.wording import describe_tokens, figure, join_words

RECORDED = Column("The recording")
_SENTENCES = 8  # on the page, at most
_GAP = 6  # transparent rows between spectrograms
_MARK, _MARK_WIDTH = (57, 197, 255, 255), 2  # colour and columns of a line through a spectrogram
templates = macros(Path(__file__).parent / "templates" / "sound.html")


def listen(chapter: Chapter) -> Section | None:
    """Every sentence: recorded, coded, and generated in every mode; a row for each text and voice."""
    sentences = list(_sentences(chapter).items())[:_SENTENCES]
    if not sentences:
        return None
    rate = read_header(sentences[0][1][0].file).sample_rate
    waves = {sound.file: _read(sound.file, rate) for _, sounds in sentences for sound in sounds}
    longest = max(map(len, waves.values()))
    lead = "First the recording, where there is one, then what a codec leaves of it, then the sentence said anew by"
    lead += " each mode. Nothing was picked."
    lead += "".join(f" {run.name.capitalize()}: {describe_tokens(run.spec)}." for run in chapter.tokenizers)
    body: list[Markup | str] = [lead]
    for (text, voice), sounds in sentences:
        cards = [
            _card(column, _player(waves[file], rate, f"{column.title}: {text}", longest), _transcript(folder, number))
            for column, file, folder, number in sounds
        ]
        body += [parts.heading(f"“{text}”", "sentence", voice), parts.gallery(cards, "sounds")]
    ways = [*chapter.reconstructions(), *_generated(chapter)]
    if recogniser := next((name for way in ways if (name := way.folder.record.get("judge"))), None):
        body.append(parts.paragraph(f"What was heard is what {recogniser} wrote down.", "note"))
    return Section("listen", "Sentences", [*body, parts.commands(ways)])


def _sentences(chapter: Chapter) -> dict[tuple[str, str], list[Sample]]:
    """(text, voice) -> its sounds, the recording first."""

    def names(folder: SampleFolder) -> Iterator[tuple[str, str]]:
        voices = folder.record.get("voices") or repeat(None)
        return ((text, str(voice or "")) for text, voice in zip(folder.names("texts"), voices))

    return side_by_side([*chapter.reconstructions(), *_generated(chapter)], ".wav", names, RECORDED)


def _generated(chapter: Chapter) -> list[Way]:
    return chapter.samples(lambda record: "to" not in record)


def _transcript(folder: SampleFolder, number: int | None) -> str | None:
    transcripts = folder.record.get("transcripts")
    return transcripts[number] if transcripts and number is not None else None


def _card(column: Column, player: Markup, transcript: str | None) -> Card:
    """With what a recogniser heard, if it listened."""
    return Card(column, player, "" if transcript is None else f"heard: “{transcript}”")


def edits(chapter: Chapter) -> Section | None:
    """Recordings before and after words in them were replaced; None where there are none."""
    lead = "A part of a recording says something else. What lies between the lines is made anew by a generator that"
    lead += " hears both sides of the gap; everything outside is the recording, sample for sample."
    body: list[Markup | str] = [lead]
    for _, folder, column in chapter.samples(lambda record: "to" in record):
        if not (folder.path / "original.wav").exists():
            continue
        record, rate = folder.record, int(folder.record["sample_rate"])
        before, after = (_read(folder.path / name, rate) for name in ("original.wav", "edited.wav"))
        longest, span = max(len(before), len(after)), record["replaced_seconds"]
        share = 100 * (1 - (span[1] - span[0]) / (len(before) / rate))
        result = replace(column, title=f"{column.title}: {share:.0f} % of the recording is preserved")
        original = _player(before, rate, f"{RECORDED.title}: {record['text']}", longest, span)
        edited = _player(after, rate, f"Edited: {record['to']}", longest, record["made_seconds"])
        cards = [_card(RECORDED, original, None), _card(result, edited, record.get("transcript"))]
        title = parts.heading(f"“{record['text']}” → “{record['to']}”", "sentence")
        body += [title, parts.gallery(cards, "sounds"), parts.command(folder.command)]
    return Section("edits", "Other words in a recording", body) if len(body) > 1 else None


def opening_picture(chapter: Chapter) -> Picture | None:
    """The sentence that most ways say: its recording and the first modes, a spectrogram each."""
    longest = max(_sentences(chapter).values(), key=len, default=[])
    if not longest:
        return None
    rows = [longest[0], *(sound for sound in longest[1:] if sound.column.how or len(longest) < 4)][:3]
    rate = read_header(rows[0].file).sample_rate
    drawn = [pixels(spectrogram(_read(sound.file, rate), rate), 2) for sound in rows]
    width = max(each.shape[1] for each in drawn)
    alt = f"Spectrograms of one sentence, from above: {join_words([sound.column.title.lower() for sound in rows])}."
    return picture(np.concatenate([_pad(each, width, _GAP) for each in drawn])[:-_GAP], alt)


def word_errors(chapter: Chapter) -> Section | None:
    """How many words are wrong, a sentence for each mode; None where it was not measured."""
    errors = [
        (column, f"of the words of {each.samples:,} sentences {figure(each.value, 'wer')} are wrong (`{each.metric}`).")
        for column, each in chapter.figures("wer")
    ]
    lead = "A recogniser wrote down what it heard of held-out sentences, and its words were compared with the texts."
    body = [lead, parts.remarks(errors)]
    return Section("words", "Words that are understood", body) if errors else None


def _player(sound: Tensor, rate: int, label: str, longest: int, marks: Sequence[float] = ()) -> Markup:
    """A sound (T,) in [-1, 1] with its spectrogram, which is as wide as that of a sound of `longest` samples; lines
    cross it at `marks`, in seconds.
    """
    drawn = pixels(spectrogram(sound, rate))
    second = drawn.shape[1] / len(sound) * rate
    for mark in marks:
        at = min(max(0, round(mark * second) - _MARK_WIDTH // 2), drawn.shape[1] - _MARK_WIDTH)
        drawn[:, at : at + _MARK_WIDTH] = _MARK
    width = spectrogram(torch.zeros(longest), rate).shape[2]
    drawing = picture(_pad(drawn, width), f"Spectrogram of {len(sound) / rate:.1f} s: {label}")
    player: Markup = templates.sound(drawing, data_uri(wav_bytes(sound, rate), "audio/wav"), label)
    return player


def _pad(drawn: Pixels, width: int, below: int = 0) -> Pixels:
    """With transparent pixels to the right, up to a width, and below."""
    return np.pad(drawn, ((0, below), (0, width - drawn.shape[1]), (0, 0)))


def _read(file: Path, rate: int) -> Tensor:
    """(T,) in [-1, 1]."""
    return torch.as_tensor(read_audio(file, rate)).flatten()


PARTS = PageParts(
    sections=(listen, edits, word_errors),
    opening_picture=opening_picture,
    headlines=(
        Headline("wer", "of words are wrong at best ({way})"),
        Headline("wer_floor", "in the recordings themselves"),
        Headline("seconds_per_second", "to say a second, at best ({way})"),
        Headline("pesq", "PESQ of what a codec leaves, at best"),
    ),
    plural="speech",
)
