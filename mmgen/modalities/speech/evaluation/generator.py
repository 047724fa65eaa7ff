"""Figures of a generator of speech: sentences of held-out clips, said anew in the same voices."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.data.sources import Samples, Source
from mmgen.evaluation.likelihood import known_labels
from mmgen.evaluation.timing import now
from mmgen.modalities.speech.evaluation import dnsmos as naturalness
from mmgen.modalities.speech.evaluation.recogniser import Recogniser
from mmgen.modalities.speech.evaluation.signal_metrics import SpeechFigure
from mmgen.modalities.speech.evaluation.similarity import VoiceJudge, next_of_same, similarities
from mmgen.modalities.speech.evaluation.tokenizer import floor, real_lengths, recognised
from mmgen.modalities.speech.sampling import (
    CHUNK,
    SpeechSamples,
    require_speech_tokenizer,
    sample_speech,
    stream_speech,
)
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import tokens_per_forward
from mmgen.sampling.texts import text_values
from mmgen.store.store import Loaded

TIMED = 3
"""Sentences that are streamed, beside one that warms up."""


@dataclass(frozen=True, eq=False)
class Sentences:
    """What is to be said, and how it was said.

    Args:
        said: transcripts, in words.
        read: the same as the generator reads them, in words or phonemes.
        sounds: (T,) float32 recordings of them, without the silence that fills clips up.
        labels: (n,) int64 voices as far as the generator knows them; -1 for others.
        voices: how many different voices these are; 0 for none.
    """

    said: list[str]
    read: list[str]
    sounds: list[Tensor]
    labels: Tensor
    voices: int

    @classmethod
    def of(cls, loaded: Loaded, source: Source, samples: Samples, batch: int = 16) -> "Sentences":
        """All samples. Raises UserError for data without texts, or with such as the generator cannot read."""
        if source.text is None or loaded.generator.text is None:
            who = "the data has no texts" if source.text is None else f"{loaded.path} reads no texts"
            raise UserError(f"{who}, so nothing can be said that was said before; choose other --data, whole clips")
        read, sounds, labels = [], [], []
        for each in samples.batches(batch):
            read += [source.text.decode(row) for row in each["text"]]
            sounds += [x[0, :length] for x, length in zip(each["x"], real_lengths(each).tolist(), strict=True)]
            labels.append(each["label"])
        known = known_labels(torch.cat(labels), loaded)
        text_values(loaded, read)
        voices = len(known[known >= 0].unique())
        return cls(samples.texts(torch.arange(len(samples))), read, sounds, known, voices)


@dataclass(frozen=True, eq=False)
class Listeners:
    """Who listens to speech.

    Args:
        recogniser: writes down what it hears; None for nobody.
        voices: tells speakers apart; None for nobody.
        naturalness: whether DNSMOS is asked.
    """

    recogniser: Recogniser | None
    voices: VoiceJudge | None
    naturalness: bool

    def require(self) -> None:
        """Raises UserError where a package is missing that is not loaded yet."""
        if self.naturalness:
            naturalness.require_dnsmos()


@dataclass(frozen=True, eq=False)
class SpeechReport:
    """What one way of speaking yields.

    Args:
        figures: one a metric.
        spoken: the speech.
    """

    figures: list[SpeechFigure]
    spoken: SpeechSamples

    @property
    def values(self) -> dict[str, float]:
        """Full metric name -> value."""
        return {each.name: each.value for each in self.figures}


@torch.no_grad()
def measure_recordings(
    loaded: Loaded, sentences: Sentences, listeners: Listeners, batch: int = 16
) -> list[SpeechFigure]:
    """What the same listeners make of the recordings, beside which speech is judged: `wer_floor`; `wer_codec`, once
    they went through the tokenizer, which the generator cannot beat; `speaker_similarity_real` and `dnsmos_real`.
    """
    tokenizer, rate = require_speech_tokenizer(loaded), require_speech_tokenizer(loaded).sample_rate
    figures = []
    if listeners.recogniser is not None:
        decoded = coded(tokenizer, sentences.sounds, batch)
        figures.append(floor(listeners.recogniser, sentences.sounds, sentences.said, rate))
        figures += recognised(listeners.recogniser, decoded, sentences.said, rate, "wer_codec")
    figures += _voice(listeners, "speaker_similarity_real", sentences.sounds, sentences, rate)
    if listeners.naturalness:
        figures.append(_mos("dnsmos_real", sentences.sounds, rate))
    return figures


def measure_speech(
    loaded: Loaded,
    mode: str,
    sentences: Sentences,
    listeners: Listeners,
    options: SampleOptions | None = None,
    seed: int = 0,
    batch: int = 16,
    progress: Progress | None = None,
) -> SpeechReport:
    """Say all sentences in their voices, and listen.

    Args:
        loaded: from `mmgen.store.store.load_generator`; it runs on the device it is on.
        mode: one of `loaded.paradigm.modes()`.
        sentences: what to say.
        listeners: `wer`, `cer`, `speaker_similarity` and `dnsmos` are theirs.
        options: steps, guidance and decoding; the default ones if None.
        seed: with a sentence's number, the key of its randomness.
        batch: sentences at a time; changes nothing that is said, but `seconds_per_second`.
        progress: called with the number of sentences that are done.

    Raises:
        UserError: as `mmgen.modalities.speech.sampling.sample_speech`.
    """
    spoken = sample_speech(
        loaded, mode, sentences.read, sentences.labels, options, seed, batch=batch, progress=progress
    )
    rate, figures = spoken.sample_rate, []
    if listeners.recogniser is not None:
        figures += recognised(listeners.recogniser, spoken.sounds, sentences.said, rate)
    figures += _voice(listeners, "speaker_similarity", spoken.sounds, sentences, rate)
    if listeners.naturalness:
        figures.append(_mos("dnsmos", spoken.sounds, rate))
    how = {"seconds_per_second": f"wall clock a second of speech, {min(batch, len(sentences.read))} at a time"}
    figures += [
        SpeechFigure("forward_passes", float(spoken.forward_passes)),
        SpeechFigure("tokens_per_forward", tokens_per_forward(spoken.lengths, spoken.forward_passes)),
        SpeechFigure("seconds_per_second", spoken.seconds / spoken.spoken_seconds, protocol=how),
    ]
    first = first_audio(loaded, mode, sentences, options, seed)
    return SpeechReport(figures if first is None else [*figures, first], spoken)


def first_audio(
    loaded: Loaded, mode: str, sentences: Sentences, options: SampleOptions | None = None, seed: int = 0
) -> SpeechFigure | None:
    """`first_audio_ms`: from the request to the first tenth of a second that can be heard, of one sentence, median;
    None in a mode that finishes all of it at the same time. The first sentence is begun once before, to warm up.
    """
    times, tokenizer = [], require_speech_tokenizer(loaded)
    token = tokenizer.spec.stride
    least = token * max(1, round(CHUNK * tokenizer.sample_rate / token))
    index = list(range(min(TIMED, len(sentences.read))))
    for turn, place in enumerate([0, *index]):
        started = now(loaded.generator.device)
        chunks = stream_speech(
            loaded, mode, [sentences.read[place]], sentences.labels[place : place + 1], options, seed, place
        )  # fmt: skip
        chunk = next(iter(chunks), None)
        spent = now(loaded.generator.device) - started
        if chunk is not None and bool(chunk.state.committed.all()) and chunk.sound.shape[2] > least:
            return None
        if turn and chunk is not None:  # it may have ended at once
            times.append(spent)
    if not times:
        return None
    how = {"first_audio": "from the request to the first 0.1 s of one sentence as samples, median"}
    return SpeechFigure("first_audio_ms", 1000 * torch.tensor(times).median().item(), protocol=how)


@torch.no_grad()
def coded(tokenizer: AudioTokenizer, sounds: Sequence[Tensor], batch: int = 16) -> list[Tensor]:
    """Sounds (T,) encoded and decoded again."""
    device, found = next(tokenizer.parameters()).device, []
    for start in range(0, len(sounds), batch):
        part = sounds[start : start + batch]
        x = torch.nn.utils.rnn.pad_sequence(list(part), batch_first=True)[:, None].to(device)
        decoded = tokenizer.decode(tokenizer.encode(x), x.shape[2])[:, 0].float().cpu()
        found += [row[: len(sound)] for row, sound in zip(decoded, part, strict=True)]
    return found


def _voice(
    listeners: Listeners, name: str, sounds: Sequence[Tensor], sentences: Sentences, rate: int
) -> list[SpeechFigure]:
    """How alike each sound is to another recording of its voice; nothing where no voice has two."""
    others = next_of_same(sentences.labels)
    rows = (others >= 0).nonzero()[:, 0].tolist()
    if listeners.voices is None or not rows:
        return []
    heard = listeners.voices([sounds[row] for row in rows], rate)
    real = listeners.voices([sentences.sounds[int(others[row])] for row in rows], rate)
    how = listeners.voices.protocol | {
        "similarity": f"cosine to another recording of the same voice, {sentences.voices} voices, {len(rows)} pairs"
    }
    return [SpeechFigure(name, similarities(heard, real).mean().item(), listeners.voices.name, how)]


def _mos(name: str, sounds: Sequence[Tensor], rate: int) -> SpeechFigure:
    return SpeechFigure(name, naturalness.dnsmos(sounds, rate).mean().item(), protocol=naturalness.about())
