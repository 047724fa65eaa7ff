"""Metrics of editing: in held-out recordings a word is replaced by another one, and a recogniser listens."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch

from mmgen.core.errors import UserError
from mmgen.evaluation.command import Metric, ModeSampling
from mmgen.modalities.speech.alignment import Aligner
from mmgen.modalities.speech.editing import MARGIN, edit
from mmgen.modalities.speech.evaluation.generator import Sentences
from mmgen.modalities.speech.evaluation.listeners import Listeners, word_error_metrics
from mmgen.modalities.speech.sampling import require_speech_tokenizer

EDITS = 20
"""Recordings that are edited, at most."""

_WORDS = {
    "edit": "a word by one that stands between the same two words in another held-out text",
    "margin": f"{MARGIN:g} s",
}


def measure_edits(
    sampling: ModeSampling,
    sentences: Sentences,
    texts: Sequence[str],
    listeners: Listeners,
    align: Aligner | None = None,
) -> list[Metric]:
    """`wer_edited`, of sentences in which a word is another one; and `edit_outside`, the largest difference to the
    recording outside the words that change and their margins, in [-1, 1].

    Recordings in which no word can be replaced, or whose words are not found in the sound, are left out; the protocol
    says how many were edited.

    Args:
        sampling: of a mode that fills gaps.
        sentences: the recordings.
        texts: of all held-out recordings, which tell what words may stand where.
        listeners: without a recogniser there are no metrics.
        align: of words to times; that of `mmgen.modalities.speech.editing` by default.
    """
    if listeners.recogniser is None:
        return []
    loaded, options, seed = sampling.loaded, sampling.options, sampling.seed
    rate = require_speech_tokenizer(loaded).sample_rate
    edited, sounds, outside, attempts = list[str](), list[torch.Tensor](), 0.0, 0
    for old, sound, label in zip(sentences.texts, sentences.sounds, sentences.labels.tolist(), strict=True):
        new = with_another_word(old, texts)
        if new is None or len(edited) == EDITS:
            continue
        attempts += 1
        try:
            made = edit(loaded, sound[None], old, new, None, MARGIN, sampling.mode, label, options, seed, align)
        except UserError:
            continue
        start, stop = (round(each * rate) for each in made.span)
        rest = made.sound.shape[1] - (len(sound) - stop)
        gaps = torch.cat([made.sound[0, :start] - sound[:start], made.sound[0, rest:] - sound[stop:], torch.zeros(1)])
        outside = max(outside, gaps.abs().max().item())
        edited.append(new)
        sounds.append(made.sound[0])
        if sampling.progress is not None:
            sampling.progress(float(len(edited)))
    if not edited:
        return []
    how = _WORDS | {"edits": f"{len(edited)} of {attempts} recordings, in the others the words were not found"}
    (errors,) = word_error_metrics(listeners.recogniser, sounds, edited, rate, "wer_edited")
    return [replace(errors, protocol=errors.protocol | how), Metric("edit_outside", outside, protocol=how)]


def with_another_word(text: str, texts: Sequence[str]) -> str | None:
    """The text with one word replaced by another, which stands between the same two words in one of the others; the
    first place where there is one, and there the most frequent one. None where there is none.
    """
    between: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for other in texts:
        words = other.split()
        for before, word, after in zip(words, words[1:], words[2:]):
            between[before, after][word] += 1
    words = text.split()
    for place in range(1, len(words) - 1):
        choices = between[words[place - 1], words[place + 1]]
        del choices[words[place]]
        if choices:
            return " ".join([*words[:place], choices.most_common(1)[0][0], *words[place + 1 :]])
    return None
