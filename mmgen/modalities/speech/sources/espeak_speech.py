"""Sentences spoken by espeak-ng: speech with exact transcripts, in any amount, that needs no download."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, nearest
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, check_split
from mmgen.data.sources.recording import Recording, Take, cache_folder, cached
from mmgen.media.audio import resample, to_int16
from mmgen.modalities.speech.sources.alignment import from_end_to_end, words_apart
from mmgen.modalities.speech.sources.clips import begins, clip_samples, padded
from mmgen.modalities.speech.sources.espeak import SAMPLE_RATE, Espeak, espeak, espeak_version
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
    (`mmgen.data.sources.recording`).

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

    Raises:
        UserError: an argument is out of range; when samples are asked for, espeakng-loader is missing or has no such
            voice, no sentence fits, or the cache cannot be written.
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
        if sentences not in KINDS:
            raise UserError(
                f"data.source.sentences {sentences!r} is not one of {', '.join(KINDS)}{nearest(sentences, KINDS)}"
            )
        if transcript not in ("text", "phonemes"):
            raise UserError(f"data.source.transcript must be 'text' or 'phonemes', got {transcript!r}")
        if timing not in ("expected", "spoken"):
            raise UserError(f"data.source.timing must be 'expected' or 'spoken', got {timing!r}")
        if (timing, transcript) == ("spoken", "phonemes"):
            raise UserError("data.source.timing 'spoken' is known for words: set data.source.transcript to 'text'")
        for name, value in {"clips": clips, "held_out": held_out}.items():
            if value < 1:
                raise UserError(f"data.source.{name} must be at least 1, got {value}")
        if not rates or not all(80 <= each <= 450 for each in rates):
            raise UserError(f"data.source.rate must be 80 to 450 words a minute, got {rate}")
        if not pitches or not all(0 <= each <= 100 for each in pitches):
            raise UserError(f"data.source.pitch must be 0 to 100, got {pitch}")
        self.class_names = list(VOICES if voices is None else voices)
        self.held_out_voices = list(held_out_voices)
        everyone = self.class_names + self.held_out_voices
        if not self.class_names or len(set(everyone)) < len(everyone):
            raise UserError(
                f"data.source.voices needs at least one, and none twice in it or data.source.held_out_voices:"
                f" {everyone}"
            )
        self.cropped = crop is not None
        self.sample_shape = (1, clip_samples(seconds, crop, sample_rate))
        self.sample_rate, self.transcript, self.timing = sample_rate, transcript, timing
        self.counts = {"train": clips, "val": held_out}
        self.folder = cache_folder() / "espeak" if cache is None else Path(cache)
        self._longest = {"text": longest(sentences), "phonemes": math.ceil(1.5 * longest(sentences))}
        self.kind, self.rates, self.pitches, self.seconds = sentences, rates, pitches, seconds
        self.recording_seed = recording_seed
        self._splits: dict[str, SpokenSamples] = {}

    @cached_property
    def text(self) -> Text | None:  # type: ignore[override]
        """What the model reads; None where it hears stretches. How long characters take is learnt from a few clips."""
        if self.cropped:
            return None
        paced = self._recording("train", min(self.counts["train"], _PACED))
        seconds = (paced.lengths / self.sample_rate).tolist()
        alphabet, read = (ALPHABET, paced.said) if self.transcript == "text" else (IPA, paced.phonemes)
        heard = self.timing == "spoken"
        if heard:
            read, seconds = words_apart(read, paced.words, seconds)
        return Text.timed(alphabet, self._longest[self.transcript], self.seconds, read, seconds, heard)

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if split not in self._splits:
            self._splits[split] = SpokenSamples(self._recording(split, self.counts[split]), self)
        return self._splits[split]

    def _recording(self, split: SplitName, count: int) -> Recording:
        settings = {
            "format": 3,  # of the grammar too: what it says is kept under it
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
        told = f"espeak-ng speaks {count:,} sentences; a minute for every 3,000, once (kept in {self.folder})"
        return cached(self.folder, settings, lambda: self._takes(split, count), told)

    def _voices(self, split: SplitName) -> list[str]:
        return self.class_names + (self.held_out_voices if split == "val" else [])

    def _takes(self, split: SplitName, count: int) -> Iterator[Take]:
        with espeak() as speaker:
            for number in range(int(split == "val"), 2 * count, 2):
                yield self._take(speaker, number, split)

    def _take(self, speaker: Espeak, number: int, split: SplitName) -> Take:
        """The clip of a number: the first sentence of its draws that belongs to the split, and fits."""
        draws, voices = Draws(self.recording_seed, torch.tensor([number])), self._voices(split)
        voice, rate, pitch = draws.uniform("voice", 3)[0].tolist()
        name = voices[int(voice * len(voices))]
        how = self.rates[int(rate * len(self.rates))], self.pitches[int(pitch * len(self.pitches))]
        spoken = 0
        for numbers in draws.uniform("sentence", _TRIES, DRAWS)[0].tolist():
            said = sentence(self.kind, numbers)
            if self.is_held_out(said) != (split == "val"):
                continue
            samples, phonemes, words = speaker.speak(said, name, *how)
            unknown = set(phonemes) - set(IPA)
            if unknown:
                raise UserError(f"voice {name!r} speaks no English: its phonemes {sorted(unknown)} are unknown here")
            sound = resample(torch.from_numpy(samples).float() / 32768, SAMPLE_RATE, self.sample_rate)
            if len(sound) <= self.seconds * self.sample_rate and len(phonemes) <= self._longest["phonemes"]:
                return Take(to_int16(sound).numpy(), number, name, said, phonemes, words)
            spoken += 1
            if spoken == _SPOKEN:
                break
        raise UserError(
            f"{spoken} sentences in a row take voice {name!r} more than {self.seconds:g} s at {how[0]} words a minute:"
            " set data.source.seconds or data.source.rate higher"
        )

    def is_held_out(self, said: str) -> bool:
        """Whether a sentence is said in held-out clips alone."""
        digest = hashlib.sha256(f"{self.recording_seed} {said}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < _HELD_OUT * 2**64

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """The arguments of a short recording of real speech, which is made on first use and kept in `path`."""
        held_out = max(1, samples // 5)
        return {"clips": max(1, samples - held_out), "held_out": held_out, "cache": str(path)}


class SpokenSamples(Samples):
    """Clips of a recording. Training clips have even numbers, held-out ones odd numbers.

    Args:
        recording: of the split.
        source: what the clips are like.
    """

    def __init__(self, recording: Recording, source: EspeakSpeech) -> None:
        self.recording, self.source = recording, source
        labels = {name: label for label, name in enumerate(source.class_names)}
        self.labels = torch.tensor([labels.get(name, NO_CLASS) for name in recording.voices])
        self.symbols: Tensor | None = None
        if source.text is not None:
            written = recording.said if source.transcript == "text" else recording.phonemes
            heard = None
            if source.timing == "spoken":
                seconds = (recording.lengths / source.sample_rate).tolist()
                heard = map(from_end_to_end, written, recording.words, seconds)
            self.symbols = source.text.encode_all(written, heard)

    def __len__(self) -> int:
        return len(self.recording)

    def texts(self, index: Tensor) -> list[str]:
        return [self.recording.said[place] for place in index.tolist()]

    def take(self, index: Tensor) -> Batch:
        return self._batch(index, torch.zeros(len(index), dtype=torch.float64))

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        if not self.source.cropped:
            return self.take(index)
        return self._batch(index, begins(self.recording.numbers[index], epoch, seed))

    def _batch(self, index: Tensor, begin: Tensor) -> Batch:
        count = self.source.sample_shape[1]
        room = (self.recording.lengths[index] - count).clamp(min=0) + 1
        starts = (begin * room).long().tolist()
        sounds = [self.recording.read(place, start, count) for place, start in zip(index.tolist(), starts)]
        batch = padded(sounds, count)
        batch |= {"label": self.labels[index], "sample": self.recording.numbers[index]}
        return batch if self.symbols is None else batch | {"text": self.symbols[index]}


def _several(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)
