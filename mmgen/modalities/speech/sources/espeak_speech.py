"""Sentences spoken by espeak-ng: speech with exact transcripts, in any amount, that needs no download."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require_one_of
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, require_argument, require_at_least
from mmgen.data.sources.scan import cache_folder
from mmgen.media.audio import resample, to_int16
from mmgen.modalities.speech.sources.clips import STRETCH, clip_length, padded
from mmgen.modalities.speech.sources.espeak import SAMPLE_RATE, Espeak, espeak, espeak_version
from mmgen.modalities.speech.sources.recording import Clip, cached
from mmgen.modalities.speech.sources.sentences import ALPHABET, DRAWS, KINDS, Kind, longest, sentence

VOICES = ("en-us", "en-us+f2", "en-us+f4", "en-us+m1", "en-us+m3")
IPA = " ,:abdefhijklmnopqrstuvwxyzæðŋɐɑɒɔəɚɛɜɡɪɬɹɾʃʉʊʌʒʔʰʲˈˌː̩̪̃θᵻ"  # what espeak-ng writes for English
_HELD_OUT = 0.1  # share of the sentences that no training clip says
_TRIES = 200  # sentences drawn until one belongs to the split: 0.9 ** 200 is never
_PACED = 300  # training clips that tell how long characters take
_SPOKEN = 20  # of these that are spoken until one fits


class EspeakSpeech(Source):
    """Clips of sentences spoken by espeak-ng, a formant synthesiser, from the package espeakng-loader.

    A clip is a function of `recording_seed` and its number: its sentence, voice, rate and pitch are drawn
    (`core.draws`), and a sentence that takes longer than `seconds` is replaced by another. One sentence in ten, chosen
    by a hash of its words, is said in held-out clips alone. They have training voices and held-out ones, all equally
    often; the class is the voice, and held-out voices are none. What is recorded is kept in the user's cache
    (`mmgen.modalities.speech.sources.recording`).

    Args:
        sentences: `digits` (three to five in words, such as `three, seven, one`), `words` (such as `the teacher reads
            the long story`), or `mixed`.
        voices: espeak-ng's, a language and a variant such as `en-us+f2`; None for a few that recognisers understand.
        held_out_voices: heard in held-out clips alone.
        rate: words a minute, 80 to 450; of several, one is drawn for each clip.
        pitch: 0 to 100; likewise.
        seconds: of a clip; shorter ones end in silence.
        sample_rate: in Hz.
        clips: to train on.
        held_out: clips of the val split.
        transcript: what `text` of a batch holds: the words as `text`, or their `phonemes`, in the International
            Phonetic Alphabet with stress marks, as this voice speaks them.
        timing: where the characters of a text stand: where they are `expected`, by how long each takes on average, as
            at sampling; or, while training, where the synthesiser says that their words are `spoken`.
        crop: train on random stretches of so many seconds, without text, as a tokenizer wants; None for whole clips.
        recording_seed: keys what is said and how; another number is another recording of the same size.
        cache: folder to keep recordings in; None for `$XDG_CACHE_HOME/mmgen/espeak`.
    """

    crop = "the first seconds of a clip"
    sample_rate: int

    def __init__(
        self,
        sentences: Kind = "mixed",
        voices: Sequence[str] | None = None,
        held_out_voices: Sequence[str] = (),
        rate: int | Sequence[int] = 150,
        pitch: int | Sequence[int] = (40, 50, 60),
        seconds: float = 4.0,
        sample_rate: int = 16000,
        clips: int = 3000,
        held_out: int = 200,
        transcript: Literal["text", "phonemes"] = "text",
        timing: Literal["expected", "spoken"] = "expected",
        crop: float | None = None,
        recording_seed: int = 0,
        cache: str | None = None,
    ) -> None:
        rates, pitches = _several(rate), _several(pitch)
        require_one_of("data.source.sentences", sentences, KINDS)
        require_one_of("data.source.transcript", transcript, ("text", "phonemes"))
        require_one_of("data.source.timing", timing, ("expected", "spoken"))
        if (timing, transcript) == ("spoken", "phonemes"):
            raise UserError("data.source.timing 'spoken' is known for words: set data.source.transcript to 'text'")
        require_at_least(1, clips=clips, held_out=held_out)
        within = bool(rates) and all(80 <= each <= 450 for each in rates)
        require_argument(within, "rate", "80 to 450 words a minute", rate)
        require_argument(bool(pitches) and all(0 <= each <= 100 for each in pitches), "pitch", "0 to 100", pitch)
        self.class_names = list(VOICES if voices is None else voices)
        self.held_out_voices = list(held_out_voices)
        everyone = self.class_names + self.held_out_voices
        if not self.class_names or len(set(everyone)) < len(everyone):
            raise UserError(
                "data.source.voices needs at least one, and none twice in it or data.source.held_out_voices:"
                f" {everyone}"
            )
        self.cropped = crop is not None
        self.sample_shape = (1, clip_length(seconds, crop, sample_rate))
        self.sample_rate, self.transcript, self.timing = sample_rate, transcript, timing
        self.counts = {"train": clips, "val": held_out}
        self.folder = cache_folder() / "espeak" if cache is None else Path(cache)
        self._longest = {"text": longest(sentences), "phonemes": math.ceil(1.5 * longest(sentences))}
        self.kind, self.rates, self.pitches, self.seconds = sentences, rates, pitches, seconds
        self.recording_seed = recording_seed

    @cached_property
    def text(self) -> Text | None:  # type: ignore[override]
        """What the model reads; None where clips are stretches. How long characters take is learnt from a few clips."""
        if self.cropped:
            return None
        clips = self._recording("train", min(self.counts["train"], _PACED))
        timed = self.timing == "spoken"
        if timed:  # each word with the blank behind it
            spans = [(clip.sentence, *span) for clip in clips for span in pairwise(self.word_times(clip))]
            read = [(text[first:last], end - begin) for text, (first, begin), (last, end) in spans]
        else:
            read = [(self.transcript_of(clip), len(clip.sound) / self.sample_rate) for clip in clips]
        alphabet = ALPHABET if self.transcript == "text" else IPA
        texts, seconds = zip(*read)
        return Text.timed(alphabet, self._longest[self.transcript], self.seconds, texts, seconds, timed)

    def transcript_of(self, clip: Clip) -> str:
        """What the model reads of a clip."""
        return clip.sentence if self.transcript == "text" else clip.phonemes

    def word_times(self, clip: Clip) -> list[tuple[int, float]]:
        """The character of a clip's sentence at which each word begins, and its second; with the sentence's two ends,
        which are those of the sound.
        """
        ends = {0: 0.0} | dict(clip.words) | {len(clip.sentence): len(clip.sound) / self.sample_rate}
        return sorted(ends.items())

    def load_split(self, split: SplitName) -> Samples:
        return SpokenSamples(self._recording(split, self.counts[split]), self)

    def _recording(self, split: SplitName, count: int) -> list[Clip]:
        settings = {
            "format": 4,  # of the grammar too: what it says is kept under it
            "espeak": espeak_version(),
            "split": split,
            "count": count,
            "sentences": self.kind,
            "voices": self._voices(split),
            "rate": self.rates,
            "pitch": self.pitches,
            "seconds": self.seconds,
            "sample_rate": self.sample_rate,
            "seed": self.recording_seed,
        }
        text = f"espeak-ng speaks {count:,} sentences; a minute for every 3,000, once (kept in {self.folder})"
        return cached(self.folder, settings, lambda: self._clips(split, count), text)

    def _voices(self, split: SplitName) -> list[str]:
        return self.class_names + (self.held_out_voices if split == "val" else [])

    def _clips(self, split: SplitName, count: int) -> Iterator[Clip]:
        with espeak() as speaker:
            for number in range(int(split == "val"), 2 * count, 2):
                yield self._clip(speaker, number, split)

    def _clip(self, speaker: Espeak, number: int, split: SplitName) -> Clip:
        """The clip of a number: the first sentence of its draws that belongs to the split, and fits."""
        draws, voices = Draws(self.recording_seed, torch.tensor([number])), self._voices(split)
        voice, rate, pitch = draws.uniform("voice", 3)[0].tolist()
        name = voices[int(voice * len(voices))]
        how = self.rates[int(rate * len(self.rates))], self.pitches[int(pitch * len(self.pitches))]
        tries = 0
        for numbers in draws.uniform("sentence", _TRIES, DRAWS)[0].tolist():
            text = sentence(self.kind, numbers)
            if self.is_held_out(text) != (split == "val"):
                continue
            samples, phonemes, words = speaker.speak(text, name, *how)
            unknown = set(phonemes) - set(IPA)
            if unknown:
                raise UserError(f"voice {name!r} speaks no English: its phonemes {sorted(unknown)} are unknown here")
            sound = resample(torch.from_numpy(samples).float() / 32768, SAMPLE_RATE, self.sample_rate)
            if len(sound) <= self.seconds * self.sample_rate and len(phonemes) <= self._longest["phonemes"]:
                return Clip(to_int16(sound), number, name, text, phonemes, words)
            tries += 1
            if tries == _SPOKEN:
                break
        raise UserError(
            f"{tries} sentences in a row take voice {name!r} more than {self.seconds:g} s at {how[0]} words a minute:"
            " set data.source.seconds or data.source.rate higher"
        )

    def is_held_out(self, text: str) -> bool:
        """Whether a sentence is said in held-out clips alone."""
        digest = hashlib.sha256(f"{self.recording_seed} {text}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < _HELD_OUT * 2**64

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """A short recording of real speech, which is made on first use and kept in `path`."""
        held_out = max(1, samples // 5)
        return {"clips": max(1, samples - held_out), "held_out": held_out, "cache": str(path)}


class SpokenSamples(Samples):
    """Clips of a source's recording. Training clips have even numbers, held-out ones odd numbers."""

    def __init__(self, clips: list[Clip], source: EspeakSpeech) -> None:
        self.clips, self.source = clips, source
        labels = {name: label for label, name in enumerate(source.class_names)}
        self.labels = torch.tensor([labels.get(clip.voice, NO_CLASS) for clip in clips])
        self.numbers = torch.tensor([clip.number for clip in clips])
        self.symbols: Tensor | None = None
        if source.text is not None:
            times = map(source.word_times, clips) if source.timing == "spoken" else None
            self.symbols = source.text.encode_all(map(source.transcript_of, clips), times)

    def __len__(self) -> int:
        return len(self.clips)

    def texts(self, index: Tensor) -> list[str]:
        return [self.clips[place].sentence for place in index.tolist()]

    def take(self, index: Tensor) -> Batch:
        return self._batch(index, torch.zeros(len(index), dtype=torch.float64))

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        if not self.source.cropped:
            return self.take(index)
        return self._batch(index, Draws(seed, self.numbers[index], epoch).uniform(STRETCH))

    def _batch(self, index: Tensor, begin: Tensor) -> Batch:
        count, sounds = self.source.sample_shape[1], [self.clips[place].sound for place in index.tolist()]
        room = torch.tensor([max(0, len(sound) - count) for sound in sounds]) + 1
        starts = (begin * room).long().tolist()
        cut = [sound[None, start : start + count].float() / 32768 for sound, start in zip(sounds, starts)]
        batch = padded(cut, count) | {"label": self.labels[index], "sample": self.numbers[index]}
        return batch if self.symbols is None else batch | {"text": self.symbols[index]}


def _several(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)
