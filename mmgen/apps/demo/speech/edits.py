"""A word of some held-out recordings is replaced by another."""

from pathlib import Path

from mmgen.apps.demo.settings import SEED, repeating
from mmgen.apps.demo.speech.settings import SpeechSettings
from mmgen.core.errors import UserError
from mmgen.media.audio import write_wav
from mmgen.modalities.speech.editing import INFILL, edit
from mmgen.modalities.speech.evaluation.generator import Sentences
from mmgen.modalities.speech.evaluation.recogniser import Recogniser
from mmgen.modalities.speech.page.story import SpeechEdit
from mmgen.modalities.speech.sampling import require_speech_tokenizer
from mmgen.modalities.speech.sources.sentences import DIGITS
from mmgen.sampling.options import sample_options
from mmgen.store.store import Loaded

FILLING = (INFILL, "masked")
"""Modes that may fill a gap, the best first."""


def edit_some(
    loaded: Loaded,
    sentences: Sentences,
    recogniser: Recogniser | None,
    settings: SpeechSettings,
    folder: Path,
) -> list[SpeechEdit]:
    """As many as the settings want, in the first mode that fills gaps; none where there is no such mode.

    Recordings whose words cannot be told apart, or that would become too long, are passed over.

    Args:
        loaded: the generator.
        sentences: held out.
        recogniser: listens to the results; None for nobody.
        settings: of the demo.
        folder: for the recordings as files, which the commands name.
    """
    modes, rate = loaded.paradigm.modes(), require_speech_tokenizer(loaded).sample_rate
    mode, found = next((mode for mode in FILLING if mode in modes), None), list[SpeechEdit]()
    if mode is None:
        return found
    options = sample_options(settings.sampling.get(mode, {}))
    folder.mkdir(exist_ok=True)
    for old, sound, label in zip(sentences.read, sentences.sounds, sentences.labels.tolist()):
        new = with_another_word(old)
        if len(found) == settings.edited or new is None:
            continue
        try:
            made = edit(loaded, sound[None], old, new, None, settings.margin, mode, label, options, SEED)
        except UserError:
            continue
        file = folder / f"{len(found)}.wav"
        write_wav(sound, file, rate)
        heard = None if recogniser is None else recogniser.transcribe([made.sound[0]], rate)[0]
        voice = loaded.facts.class_names[label] if 0 <= label < len(loaded.facts.class_names) else "none"
        command = edit_command(loaded, file, old, new, mode, voice, settings)
        found.append(SpeechEdit(old, new, mode, sound, made.sound[0], made.span, made.made, heard, command))
    return found


def with_another_word(text: str) -> str | None:
    """The text with its second word replaced by another digit, unlike its neighbours; None where it has no three."""
    words = text.replace(",", " , ").split()
    places = [place for place, word in enumerate(words) if word in DIGITS]
    if len(places) < 3:
        return None
    before, changed, after = (DIGITS.index(words[place]) for place in places[:3])
    digit = next(digit for digit in ((changed + step) % 10 for step in (3, 4, 5)) if digit not in (before, after))
    words[places[1]] = DIGITS[digit]
    return " ".join(words).replace(" ,", ",")


def edit_command(
    loaded: Loaded, file: Path, old: str, new: str, mode: str, voice: str, settings: SpeechSettings
) -> str:
    """The line that repeats an edit."""
    from mmgen.apps.cli import edit as command

    given = {"text": old, "to": new, "margin": settings.margin, "mode": mode, "class_": voice}
    return repeating("edit", command.run, path=loaded.path, file=file, **given, **settings.sampling.get(mode, {}))
