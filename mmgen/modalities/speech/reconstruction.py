"""What `mmgen reconstruct` writes of sounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmgen.data.held_out import names_of
from mmgen.data.sources import Source
from mmgen.media.audio import open_sound, write_wav
from mmgen.media.folders import new_folder, unique_names
from mmgen.media.images import save_png
from mmgen.media.spectrogram import mel_distance_db, spectrogram_sheet
from mmgen.modalities.speech.evaluation.tokenizer import real_lengths
from mmgen.modalities.speech.held_out import whole_recordings
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.tokenizers import Tokenizer


def reconstruct_sounds(tokenizer: Tokenizer, files: Sequence[str], out: str) -> None:
    """Encode sounds, decode them again, and write the result as WAV, and the spectrograms of both as PNG.

    Args:
        tokenizer: of speech, in evaluation mode.
        files: to be read.
        out: folder for the results, made and never written over.

    Raises:
        UserError: a file cannot be read, or does not fit; then nothing is written.
    """
    assert isinstance(tokenizer, AudioTokenizer)
    rate = tokenizer.sample_rate
    sounds = [open_sound(file, rate) for file in files]  # all are read before anything is written
    names = unique_names(files, ".wav")
    folder = new_folder(out)
    for file, name, sound in zip(files, names, sounds, strict=True):
        count = sound.shape[1]
        tokens = tokenizer.encode(sound[None].to(next(tokenizer.parameters()).device))
        decoded = tokenizer.decode(tokens, count)[0].float().cpu()
        write_wav(decoded, folder / name, rate)
        amount, picture = tokenizer.spec.with_frames(count).amount, folder / f"{Path(name).stem}.png"
        save_png(spectrogram_sheet([sound, decoded], rate, ["original", f"decoded from {amount}"], 1), picture)
        distance = mel_distance_db(sound, decoded, rate)
        print(f"{file}: mel_distance_db {distance:.2f}, {count / rate:.2f} s, {amount} -> {folder / name}, {picture}")


def reconstruct_held_out_sounds(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """The first held-out recordings as NNN.real.wav, and what the tokenizer makes of them, as NNN.wav."""
    assert isinstance(tokenizer, AudioTokenizer)
    source, rate = whole_recordings(source, tokenizer.sample_rate), tokenizer.sample_rate
    held_out = source.samples("val")
    batch = held_out.take(torch.arange(min(count, len(held_out))))
    for number, (padded, length) in enumerate(zip(batch["x"], real_lengths(batch).tolist(), strict=True)):
        sound = padded[:, :length]
        tokens = tokenizer.encode(sound[None].to(next(tokenizer.parameters()).device))
        write_wav(sound, folder / f"{number:03d}.real.wav", rate)
        write_wav(tokenizer.decode(tokens, length)[0].float().cpu(), folder / f"{number:03d}.wav", rate)
    texts = [] if source.text is None else [source.text.decode(row) for row in batch["text"]]
    voices = names_of(batch["label"], source.class_names)
    return {"samples": len(batch["x"]), "texts": texts, "voices": voices, "sample_rate": rate}
