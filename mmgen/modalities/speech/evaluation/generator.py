"""Metrics of a generator of speech that says the sentences of held-out clips in the same voices."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources import Samples, Source
from mmgen.evaluation.coding import now
from mmgen.evaluation.command import Metric, ModeSampling, Report, cost_metrics
from mmgen.evaluation.likelihood import known_labels
from mmgen.modalities.speech.evaluation.listeners import Listeners, next_of_same, word_error_metrics
from mmgen.modalities.speech.evaluation.tokenizer import real_lengths
from mmgen.modalities.speech.sampling import (
    CHUNK,
    SpeechSamples,
    require_speech_tokenizer,
    sample_speech,
    stream_speech,
)
from mmgen.paradigms.base import ConditionValues
from mmgen.sampling.samples import condition_values, text_condition, text_values
from mmgen.store.store import Loaded

TIMED = 3
"""Sentences that are streamed, after one that warms up."""


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences to be said, and recordings of them."""

    transcripts: list[str]  # in words
    texts: list[str]  # as the generator reads them, in words or phonemes
    sounds: list[Tensor]  # (T,) float32 recordings, without the silence that fills clips up
    labels: Tensor  # (n,) int64 voices as far as the generator knows them; -1 for others

    @classmethod
    def of(cls, loaded: Loaded, source: Source, samples: Samples, batch: int = 16) -> "Sentences":
        """All samples. Raises UserError for data without texts, or with texts that the generator cannot read."""
        if source.text is None or text_condition(loaded) is None:
            who = "the data has no texts" if source.text is None else f"{loaded.path} reads no texts"
            raise UserError(f"{who}, so nothing can be said that was said before; choose other --data, whole clips")
        texts, sounds, labels = [], [], []
        for each in samples.batches(batch):
            texts += [source.text.decode(row) for row in each["text"]]
            sounds += [x[0, :length] for x, length in zip(each["x"], real_lengths(each).tolist(), strict=True)]
            labels.append(each["label"])
        known = known_labels(torch.cat(labels), loaded)
        condition_values(loaded, text_values(loaded, texts))
        return cls(samples.texts(torch.arange(len(samples))), texts, sounds, known)

    def conditions(self, loaded: Loaded, rows: slice = slice(None)) -> dict[str, ConditionValues]:
        """Voices and texts of some of them, as a `SamplingTask` takes them."""
        return text_values(loaded, self.texts[rows]) | {"class": self.labels[rows]}

    @property
    def voices(self) -> int:
        """How many different voices these are; 0 for none."""
        return len(self.labels[self.labels >= 0].unique())


@torch.no_grad()
def measure_recordings(loaded: Loaded, sentences: Sentences, listeners: Listeners, batch: int = 16) -> list[Metric]:
    """The listeners' metrics of the recordings, for comparison: `wer_floor`; `wer_codec`, once they went through the
    tokenizer, which the generator cannot beat; `speaker_similarity_real` and `dnsmos_real`.
    """
    tokenizer, recogniser, metrics = require_speech_tokenizer(loaded), listeners.recogniser, list[Metric]()
    rate, device, decoded = tokenizer.sample_rate, next(tokenizer.parameters()).device, list[Tensor]()
    if recogniser is not None:
        for start in range(0, len(sentences.sounds), batch):
            part = sentences.sounds[start : start + batch]
            x = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)[:, None].to(device)
            rows = tokenizer.decode(tokenizer.encode(x), x.shape[2])[:, 0].float().cpu()
            decoded += [row[: len(sound)] for row, sound in zip(rows, part, strict=True)]
        for name, sounds in (("wer_floor", sentences.sounds), ("wer_codec", decoded)):
            metrics += word_error_metrics(recogniser, sounds, sentences.transcripts, rate, name)
    metrics += _voice_metrics(listeners, "speaker_similarity_real", sentences.sounds, sentences, rate)
    return metrics + listeners.naturalness_metrics("dnsmos_real", sentences.sounds, rate)


def measure_speech(sampling: ModeSampling, sentences: Sentences, listeners: Listeners) -> Report[SpeechSamples]:
    """Say all sentences in their voices, and listen: `wer`, `cer`, `speaker_similarity` and `dnsmos` are of the
    listeners. Raises UserError as `mmgen.modalities.speech.sampling.sample_speech`.
    """
    speech = sample_speech(sampling.task(sentences.conditions(sampling.loaded)))
    rate, metrics = speech.sample_rate, list[Metric]()
    if listeners.recogniser is not None:
        metrics += word_error_metrics(listeners.recogniser, speech.sounds, sentences.transcripts, rate)
    metrics += _voice_metrics(listeners, "speaker_similarity", speech.sounds, sentences, rate)
    metrics += listeners.naturalness_metrics("dnsmos", speech.sounds, rate)
    count = min(sampling.batch, len(sentences.texts))
    how = {"seconds_per_second": f"wall clock a second of speech, {count} at a time"}
    pace = Metric("seconds_per_second", speech.seconds / speech.spoken_seconds, protocol=how)
    metrics += cost_metrics(speech, pace)
    first = first_audio(sampling, sentences)
    return Report(metrics if first is None else [*metrics, first], speech, speech.steps)


def first_audio(sampling: ModeSampling, sentences: Sentences) -> Metric | None:
    """`first_audio_ms`: from the request to the first tenth of a second of sound, of one sentence, median; None in a
    mode that finishes all of it at the same time. The first sentence is begun once before, to warm up.
    """
    loaded = sampling.loaded
    times, tokenizer = [], require_speech_tokenizer(loaded)
    token = tokenizer.spec.stride
    least = token * max(1, round(CHUNK * tokenizer.sample_rate / token))
    index = list(range(min(TIMED, len(sentences.texts))))
    for turn, place in enumerate([0, *index]):
        started = now(loaded.generator.device)
        conditions = sentences.conditions(loaded, slice(place, place + 1))
        chunk = next(iter(stream_speech(sampling.task(conditions, first_sample=place, progress=None))), None)
        seconds = now(loaded.generator.device) - started
        if chunk is not None and bool(chunk.state.committed.all()) and chunk.values.shape[2] > least:
            return None
        if turn and chunk is not None:  # it may have ended at once
            times.append(seconds)
    if not times:
        return None
    how = {"first_audio": "from the request to the first 0.1 s of one sentence as samples, median"}
    return Metric("first_audio_ms", 1000 * torch.tensor(times).median().item(), protocol=how)


def _voice_metrics(
    listeners: Listeners, name: str, sounds: Sequence[Tensor], sentences: Sentences, rate: int
) -> list[Metric]:
    """How alike each sound is to another recording of its voice; nothing where no voice has two."""
    others = next_of_same(sentences.labels)
    rows = (others >= 0).nonzero()[:, 0].tolist()
    if listeners.voices is None or not rows:
        return []
    made = listeners.voices([sounds[row] for row in rows], rate)
    real = listeners.voices([sentences.sounds[int(others[row])] for row in rows], rate)
    how = listeners.voices.protocol | {
        "similarity": f"cosine to another recording of the same voice, {sentences.voices} voices, {len(rows)} pairs"
    }
    return [Metric(name, (made * real).sum(1).mean().item(), listeners.voices.name, how)]
