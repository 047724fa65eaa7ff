"""The data module of speech in folders."""

from pathlib import Path
from typing import Any, Literal

from mmgen.data.base import DataModule
from mmgen.modalities.speech.sources.speech_folder import SpeechFolderSource


class SpeechFolder(DataModule):
    """Sound files with transcripts, laid out as LJSpeech, LibriSpeech or LibriTTS are, or each with a text file beside
    it (`mmgen.modalities.speech.sources.speech_folder.SpeechFolderSource`).

    Args:
        root: the folder.
        seconds: of a clip; shorter sounds end in silence, longer ones are skipped.
        sample_rate: in Hz; files of another one are resampled.
        alphabet: the characters of a text; null for those that the transcripts hold, in lower case.
        max_text: characters of the longest text; null for the longest there is. Where files are read, these also tell
            how long each character takes (`Text.timed`).
        held_out: one in so many is held out.
        held_out_by: what is counted, `files` or `speakers`.
        crop: train on random stretches of so many seconds, without text, as a tokenizer wants; null for whole clips.
        check: look at every file's header before training, to count and skip those that cannot be used.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and where stretches begin.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for sounds only.
        num_workers: loading processes a device; changes no batch.
    """

    def __init__(
        self,
        root: str,
        seconds: float = 10.0,
        sample_rate: int = 16000,
        alphabet: str | None = None,
        max_text: int | None = None,
        held_out: int = 10,
        held_out_by: Literal["files", "speakers"] = "files",
        crop: float | None = None,
        check: bool = True,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        source = SpeechFolderSource(root, seconds, sample_rate, alphabet, max_text, held_out, held_out_by, crop, check)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few hums in a real layout; returns the arguments that read them."""
        return SpeechFolderSource.make_fake(path, samples)
