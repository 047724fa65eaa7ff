"""`mmgen edit`: other words in a recording."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmgen.core.progress import command_line, print_record, progress_bar, write_record
from mmgen.media.audio import open_sound, write_wav
from mmgen.media.folders import next_free, whole_folder
from mmgen.media.images import save_png
from mmgen.media.spectrogram import spectrogram_sheet
from mmgen.modalities.speech.alignment import parse_span
from mmgen.modalities.speech.editing import INFILL, edit
from mmgen.modalities.speech.evaluation.recogniser import get_recogniser
from mmgen.modalities.speech.sampling import require_speech_tokenizer
from mmgen.sampling.options import all_arguments, sample_options, takes_sampling
from mmgen.sampling.samples import class_labels, pick_device
from mmgen.store.store import load_generator


@takes_sampling
def run(
    path: str,
    file: str,
    *,
    text: str,
    to: str,
    span: str | None = None,
    margin: float = 0.08,
    out: str | None = None,
    mode: str | None = None,
    class_: str = "none",
    seed: int = 0,
    judge: bool = False,
    device: str = "auto",
    **options: Any,
) -> None:
    """Replace words of a recording by others: the part in which they stand is made anew by a generator that hears the
    rest, and everything else stays as it is, sample for sample. Writes original.wav, edited.wav, spectrograms.png
    (the original above the result), tokens.safetensors and record.json into a new folder.

    Args:
        path: run folder or export of a generator of speech that fills in gaps.
        file: sound file; at another rate or with several channels it is brought to those of the model first.
        text: what is said in it, all of it.
        to: what shall be said in it, all of it.
        span: seconds between which the words stand that change, such as 0.52:0.93; found by a speech recogniser by
            default.
        margin: seconds on each side of the span that are made anew too.
        out: folder for the results, made and never written over; the next free number in samples/ of `path` by default.
        mode: way of sampling; `infill` by default, where the checkpoint was trained for it.
        class_: name or number of the voice, or `none`.
        seed: key of all that is random.
        judge: let a recogniser write down what it hears in the result, and record it.
        device: cpu, cuda, or auto.
    """
    arguments = all_arguments(dict(locals()))
    loaded = load_generator(path).to(pick_device(device))
    modes = list(loaded.paradigm.modes())
    recogniser = get_recogniser(device=str(loaded.generator.device)) if judge else None
    rate = require_speech_tokenizer(loaded).sample_rate
    between = None if span is None else parse_span(span)
    (label,) = class_labels([class_], 1, loaded).tolist()
    sound = open_sound(file, rate)
    with progress_bar("editing", 1) as progress:
        edited = edit(
            loaded, sound, text, to, between, margin, mode, label, sample_options(arguments), seed, progress=progress
        )  # fmt: skip
    record = {
        "command": command_line("edit", run, arguments),
        "mode": mode or (INFILL if INFILL in modes else modes[0]),
        "text": text,
        "to": to,
        "transcript": None if recogniser is None else recogniser.transcribe([edited.sound[0]], rate)[0],
        "replaced_seconds": [round(each, 4) for each in edited.span],
        "made_seconds": [round(each, 4) for each in edited.made],
        "sample_rate": rate,
        "seconds_before": round(sound.shape[1] / rate, 3),
        "seconds_after": round(edited.sound.shape[1] / rate, 3),
        "forward_passes": edited.forward_passes,
        "seconds": round(edited.seconds, 3),
        "trained_steps": loaded.step,
        "device": str(loaded.generator.device),
        "torch": torch.__version__,
    }
    out = out or str(next_free(Path(path) / "samples"))
    with whole_folder(out) as folder:
        write_wav(sound, folder / "original.wav", rate)
        write_wav(edited.sound, folder / "edited.wav", rate)
        save_file({"tokens": edited.tokens.contiguous()}, folder / "tokens.safetensors")
        sheet = spectrogram_sheet([sound, edited.sound], rate, [text, to], 1, marks=[edited.span, edited.made])
        save_png(sheet, folder / "spectrograms.png")
        write_record(folder, record)
    print_record(record, out)
