"""The data module of Asterisk's voice prompts."""

from pathlib import Path
from typing import Any

from mmgen.data.base import DataModule
from mmgen.modalities.speech.sources.asterisk_prompts import AsteriskPromptsSource


class AsteriskPrompts(DataModule):
    """Voice prompts of a telephone exchange, recorded speech of one speaker with transcripts, from Debian's package
    asterisk-core-sounds-en-wav (`mmgen.modalities.speech.sources.asterisk_prompts.AsteriskPromptsSource`).

    Args:
        root: the folder of the sounds; null for where the package puts them.
        transcripts: the text file of what they say; null for the package's own.
        seconds: of a clip; shorter prompts end in silence, longer ones are skipped.
        sample_rate: in Hz, to which they are resampled from 8 kHz.
        max_text: characters of the longest text; null for the longest there is.
        held_out: one in so many prompts is held out.
        crop: train on random stretches of so many seconds, without text, as a tokenizer wants; null for whole clips.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and where stretches begin.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for sounds only.
        num_workers: loading processes a device; changes no batch.
    """

    def __init__(
        self,
        root: str | None = None,
        transcripts: str | None = None,
        seconds: float = 4.0,
        sample_rate: int = 16000,
        max_text: int | None = None,
        held_out: int = 10,
        crop: float | None = None,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        source = AsteriskPromptsSource(root, transcripts, seconds, sample_rate, max_text, held_out, crop)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few hums as the package lays prompts out; returns the arguments that read them."""
        return AsteriskPromptsSource.make_fake(path, samples)
