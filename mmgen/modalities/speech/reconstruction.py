"""What `mmgen reconstruct` writes of sounds."""

from collections.abc import Sequence
from pathlib import Path

from mmgen.media.audio import write_wav
from mmgen.media.folders import new_folder, unique_names
from mmgen.media.images import save_png
from mmgen.media.spectrogram import mel_distance_db, spectrogram_sheet
from mmgen.modalities.speech.input_files import open_sound
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
