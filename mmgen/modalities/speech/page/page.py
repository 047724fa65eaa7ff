"""The page of a run of speech, a function a section: a new section is one function more, in `SECTIONS`."""

from typing import Any

import numpy as np
from torch import Tensor

from mmgen.media.spectrogram import spectrogram
from mmgen.modalities.speech.page.sounds import columns_of, player
from mmgen.modalities.speech.page.story import SpeechEdit, SpeechStory
from mmgen.page import sections
from mmgen.page.page import Page, Picture, Section, duration, fill
from mmgen.page.sections import metric_row
from mmgen.page.tiles import picture, pixels
from mmgen.page.wording import described, listed, title, word

RECORDED = "The recording"
_GAP = 6  # transparent rows between spectrograms


def speech_page(story: SpeechStory) -> Page:
    """The whole page."""
    wer, ways = story.error_rate, listed([title(mode.name).lower() for mode in story.modes])
    figures = []
    if wer is not None:
        best = min(story.modes, key=lambda mode: mode.measured[wer])
        figures.append((percent(best.measured[wer]), f"of words are wrong at best ({title(best.name).lower()})"))
        floor = story.recordings[0].get(wer.replace("wer", "wer_floor", 1)) if story.recordings else None
        if floor is not None:
            figures.append((percent(floor), "in the recordings themselves"))
    rates = [mode.measured["seconds_per_second"] for mode in story.modes if "seconds_per_second" in mode.measured]
    if rates:
        figures.append((duration(min(rates)), "to say a second, at best"))
    figures.append((duration(story.total_seconds), "from nothing to this page"))
    lead = (
        "Codecs and transformers, trained from scratch on speech. They say sentences that they have never heard, in"
        f" voices that they know: {ways}."
    )
    if story.edits:
        lead += " And they put other words into a recording, of which all the rest stays as it is."
    made_of = [section for make in SECTIONS if (section := make(story)) is not None]
    return Page("Said", lead, hero(story), figures, story.facts, story.commands, made_of, "mmgen demo speech")


def listen(story: SpeechStory) -> Section:
    """Every sentence: recorded, coded, and said in every mode."""
    every = [*story.real, *(each for codec in story.codecs for each in codec.sounds)]
    every += [each for mode in story.modes for each in mode.sounds]
    columns = columns_of(every, story.sample_rate)

    def shown(name: dict[str, Any], sound: Tensor, text: str, heard: list[str], place: int) -> dict[str, Any]:
        told = player(sound, story.sample_rate, f"{name['title']}: {text}", columns)
        return name | {"player": told, "heard": heard[place] if heard else None}

    sentences = []
    for place, (text, voice) in enumerate(zip(story.texts, story.voices)):
        rows = [shown(grey(RECORDED), story.real[place], text, story.heard, place)]
        rows += [shown(grey(f"Coded: {codec.name}"), codec.sounds[place], text, [], place) for codec in story.codecs]
        rows += [shown(described(mode.name), mode.sounds[place], text, mode.heard, place) for mode in story.modes]
        sentences.append({"text": text, "voice": voice, "rows": rows})
    body = fill(
        "speech/listen.html",
        sentences=sentences,
        commands=[mode.command for mode in story.modes],
        recogniser=story.recogniser,
        missing=story.missing,
    )
    return Section("listen", "Sentences", body)


def edits(story: SpeechStory) -> Section | None:
    """Recordings before and after; None where there are none."""
    if not story.edits:
        return None
    columns = columns_of([sound for edit in story.edits for sound in (edit.before, edit.after)], story.sample_rate)
    body = fill("speech/edits.html", edits=[_edit(edit, story.sample_rate, columns) for edit in story.edits])
    return Section("edits", "Other words in a recording", body)


def codecs(story: SpeechStory) -> Section:
    """What tokenizers keep."""
    names = list(dict.fromkeys(name for codec in story.codecs for name in codec.measured))
    rows = [metric_row(name, [codec.measured.get(name) for codec in story.codecs]) for name in names]
    shown = [
        grey(codec.name.capitalize())
        | {"tokens": codec.tokens, "samples": f"{codec.samples:,}", "command": codec.command}
        for codec in story.codecs
    ]
    return Section("codecs", "What the codecs keep", fill("speech/codecs.html", codecs=shown, rows=rows))


def metrics(story: SpeechStory) -> Section:
    """All figures of all modes, and those of the recordings beside them."""
    names = list(dict.fromkeys(name for mode in story.modes for name in mode.measured))
    rows = [metric_row(name, [mode.measured.get(name) for mode in story.modes]) for name in names]
    rows.append(metric_row("steps", [mode.steps for mode in story.modes]))
    names = list(dict.fromkeys(name for found in story.recordings for name in found))
    real = [metric_row(name, [found.get(name) for found in story.recordings]) for name in names]
    columns = [grey(codec.name.capitalize()) for codec in story.codecs]
    modes = [described(mode.name) | {"measure_command": mode.measure_command} for mode in story.modes]
    body = fill(
        "speech/metrics.html", modes=modes, rows=rows, real=real, columns=columns, said=_said(story),
        samples=f"{story.modes[0].samples:,}", recogniser=story.recogniser, missing=story.missing,
    )  # fmt: skip
    return Section("metrics", "Metrics", body)


def training(story: SpeechStory) -> Section | None:
    """The curves of the runs."""
    return sections.training(story.curves)


def masks(story: SpeechStory) -> Section | None:
    """The masks that modes train and sample under, and the rest."""
    return sections.masks(story.masks)


SECTIONS = [listen, edits, codecs, metrics, training, masks]


def hero(story: SpeechStory) -> Picture:
    """The first sentence as it was recorded, and below as every mode says it."""
    sounds = [story.real[0], *(mode.sounds[0] for mode in story.modes)]
    drawn = [pixels(spectrogram(sound, story.sample_rate), 2) for sound in sounds]
    width = max(each.shape[1] for each in drawn)
    rows = [np.pad(each, ((0, _GAP), (0, width - each.shape[1]), (0, 0))) for each in drawn]
    names = listed(["recorded", *(title(mode.name).lower() for mode in story.modes)])
    return picture(np.concatenate(rows)[:-_GAP], f"Spectrograms of one sentence, from above: {names}.")


def grey(name: str) -> dict[str, Any]:
    """What is said of something that is no mode."""
    return {"title": name, "colour": "grey"}


def percent(share: float) -> str:
    """A share of words."""
    return f"{100 * share:.1f} %"


def _edit(edit: SpeechEdit, sample_rate: int, columns: int) -> dict[str, Any]:
    before = player(edit.before, sample_rate, f"{RECORDED}: {edit.old}", columns, edit.span)
    after = player(edit.after, sample_rate, f"Edited: {edit.new}", columns, edit.made)
    kept = 100 * (1 - (edit.span[1] - edit.span[0]) / (len(edit.before) / sample_rate))
    return {
        "old": edit.old, "new": edit.new, "mode": described(edit.mode), "before": before, "after": after,
        "heard": edit.heard, "kept": f"{kept:.0f}", "command": edit.command,
    }  # fmt: skip


def _said(story: SpeechStory) -> list[str]:
    """A sentence a mode on its word errors; none where they were not counted."""
    wer = story.error_rate
    if wer is None:
        return []
    return [
        f"{title(mode.name)}: of the words of {word(mode.samples)} sentences {percent(mode.measured[wer])} are wrong"
        for mode in story.modes
    ]
