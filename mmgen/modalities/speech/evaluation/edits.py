"""Figures of editing: in held-out recordings a word is replaced by another one, and a recogniser listens."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.modalities.speech.alignment import Aligner
from mmgen.modalities.speech.editing import MARGIN, edit
from mmgen.modalities.speech.evaluation.generator import Listeners, Sentences
from mmgen.modalities.speech.evaluation.signal_metrics import SpeechFigure
from mmgen.modalities.speech.evaluation.tokenizer import recognised
from mmgen.modalities.speech.sampling import require_speech_tokenizer
from mmgen.paradigms import SampleOptions
from mmgen.store.store import Loaded

EDITS = 20
"""Recordings that are edited, at most."""

_WORDS = {
    "edit": "a word by one that stands between the same two words in another held-out text",
    "margin": f"{MARGIN:g} s",
}


def measure_edits(
    loaded: Loaded,
    mode: str,
    sentences: Sentences,
    texts: Sequence[str],
    listeners: Listeners,
    options: SampleOptions | None = None,
    seed: int = 0,
    align: Aligner | None = None,
    progress: Progress | None = None,
) -> list[SpeechFigure]:
    """`wer_edited`, of sentences in which a word is another one; and `edit_outside`, the largest difference to the
    recording outside the words that change and their margins, in [-1, 1].

    Recordings in which no word can be replaced, or whose words are not found in the sound, are passed over; the
    protocol says how many were edited.

    Args:
        loaded: the generator.
        mode: one of its modes that fills gaps.
        sentences: the recordings.
        texts: of all held-out recordings, which tell what words may stand where.
        listeners: whose recogniser listens; without one there are no figures.
        options: of sampling.
        seed: key of all randomness.
        align: of words to times; that of `mmgen.modalities.speech.editing` by default.
        progress: called with the number of edits that are done.
    """
    if listeners.recogniser is None:
        return []
    rate = require_speech_tokenizer(loaded).sample_rate
    said, sounds, outside, tried = list[str](), list[torch.Tensor](), 0.0, 0
    for old, sound, label in zip(sentences.read, sentences.sounds, sentences.labels.tolist(), strict=True):
        new = with_another_word(old, texts)
        if new is None or len(said) == EDITS:
            continue
        tried += 1
        try:
            made = edit(loaded, sound[None], old, new, None, MARGIN, mode, label, options, seed, align)
        except UserError:
            continue
        start, stop = (round(each * rate) for each in made.span)
        rest = made.sound.shape[1] - (len(sound) - stop)
        kept = torch.cat([made.sound[0, :start] - sound[:start], made.sound[0, rest:] - sound[stop:], torch.zeros(1)])
        outside = max(outside, kept.abs().max().item())
        said.append(new)
        sounds.append(made.sound[0])
        if progress is not None:
            progress(float(len(said)))
    if not said:
        return []
    how = _WORDS | {"edits": f"{len(said)} of {tried} recordings, in the others the words were not found"}
    heard = recognised(listeners.recogniser, sounds, said, rate, "wer_edited")[0]
    return [
        SpeechFigure(heard.metric, heard.value, heard.network, dict(heard.protocol) | how),
        SpeechFigure("edit_outside", outside, protocol=how),
    ]


def with_another_word(text: str, texts: Sequence[str]) -> str | None:
    """The text with one word replaced by another, which stands between the same two words in one of the others; the
    first place where there is one, and there the most frequent one. None where there is none.
    """
    between: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for other in texts:
        words = other.split()
        for before, word, after in zip(words, words[1:], words[2:]):
            between[before, after][word] += 1
    words = text.split()
    for place in range(1, len(words) - 1):
        choices = {w: n for w, n in between[words[place - 1], words[place + 1]].items() if w != words[place]}
        if choices:
            return " ".join([*words[:place], max(choices, key=lambda word: choices[word]), *words[place + 1 :]])
    return None
