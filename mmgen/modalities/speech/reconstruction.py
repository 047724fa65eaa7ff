"""What `mmgen reconstruct` writes of sounds."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.data.held_out import names_of
from mmgen.data.sources import Source
from mmgen.media.audio import open_sound, write_wav
from mmgen.media.images import save_png
from mmgen.media.spectrogram import mel_distance_db, spectrogram_sheet
from mmgen.modalities.speech.evaluation.tokenizer import real_lengths
from mmgen.modalities.speech.held_out import whole_recordings
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.sampling.reconstruction import reconstruct_each, reconstruct_numbered
from mmgen.tokenizers import Tokenizer


def reconstruct_files(tokenizer: Tokenizer, files: Sequence[str], out: str) -> None:
    """The reconstruction as WAV, and the spectrograms of both as PNG."""
    assert isinstance(tokenizer, AudioTokenizer)
    rate = tokenizer.sample_rate

    def write(sound: Tensor, decoded: Tensor, path: Path) -> tuple[str, list[Path]]:
        write_wav(decoded, path, rate)
        titles = ["original", f"decoded from {tokenizer.spec.with_frames(sound.shape[1]).amount}"]
        picture = path.with_suffix(".png")
        save_png(spectrogram_sheet([sound, decoded], rate, titles, 1), picture)
        distance = mel_distance_db(sound, decoded, rate)
        return f"mel_distance_db {distance:.2f}, {sound.shape[1] / rate:.2f} s", [picture]

    reconstruct_each(tokenizer, files, out, ".wav", partial(open_sound, sample_rate=rate), write)


def reconstruct_held_out(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """The first held-out recordings."""
    assert isinstance(tokenizer, AudioTokenizer)
    source, rate = whole_recordings(source, tokenizer.sample_rate), tokenizer.sample_rate
    held_out = source.samples("val")
    batch = held_out.take(torch.arange(min(count, len(held_out))))
    sounds = [x[:, :length] for x, length in zip(batch["x"], real_lengths(batch).tolist(), strict=True)]
    reconstruct_numbered(tokenizer, sounds, folder, ".wav", partial(write_wav, sample_rate=rate))
    texts = [] if source.text is None else [source.text.decode(row) for row in batch["text"]]
    voices = names_of(batch["label"], source.class_names)
    return {"samples": len(sounds), "texts": texts, "voices": voices, "sample_rate": rate}
