"""The data module of sentences spoken by espeak-ng."""

from pathlib import Path
from typing import Any, Literal

from mmgen.data.base import DataModule
from mmgen.modalities.speech.sources.espeak_speech import EspeakSpeechSource


class EspeakSpeech(DataModule):
    """Sentences that a synthesiser speaks, with their texts (`EspeakSpeechSource`), recorded once.

    Args:
        sentences: `digits` (three to five in words, such as `three, seven, one`), `words` (such as `the teacher reads
            the long story`), or `mixed`.
        voices: espeak-ng's, a language and a variant such as `en-us+f2`; null for a few that recognisers understand.
        held_out_voices: heard in held-out clips alone.
        rate: words a minute; of several, one is drawn for each clip.
        pitch: 0 to 100; likewise.
        seconds: of a clip; shorter ones end in silence.
        sample_rate: in Hz.
        clips: to train on.
        held_out: clips of the val split.
        transcript: what the model reads, the words as `text` or their `phonemes`.
        timing: whether its characters stand where they are `expected` or, in training, where they are `spoken`.
        crop: train on random stretches of so many seconds, without text, as a tokenizer wants; null for whole clips.
        recording_seed: keys what is said and how.
        cache: folder to keep recordings in; null for the user's cache.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and where stretches begin.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for sounds only.
        num_workers: loading processes a device; changes no batch.
    """

    def __init__(
        self,
        sentences: Literal["digits", "words", "mixed"] = "mixed",
        voices: list[str] | None = None,
        held_out_voices: list[str] = [],  # noqa: B006 (never changed)
        rate: int | list[int] = 150,
        pitch: int | list[int] = [40, 50, 60],  # noqa: B006
        seconds: float = 4.0,
        sample_rate: int = 16000,
        clips: int = 3000,
        held_out: int = 200,
        transcript: Literal["text", "phonemes"] = "text",
        timing: Literal["expected", "spoken"] = "expected",
        crop: float | None = None,
        recording_seed: int = 0,
        cache: str | None = None,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        source = EspeakSpeechSource(
            sentences, voices, held_out_voices, rate, pitch, seconds, sample_rate, clips, held_out, transcript, timing,
            crop, recording_seed, cache,
        )  # fmt: skip
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """The arguments for a short recording, kept in `path`."""
        return EspeakSpeechSource.make_fake(path, samples)
