"""`mmgen reconstruct`: what a tokenizer keeps of files, or of held-out samples."""

from typing import Any

from mmgen.core.command_options import default_options, require_own_options, takes_modality_options
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint


@takes_modality_options("reconstruct")
@takes_checkpoint
def run(
    tokenizer: str,
    files: list[str] = [],  # noqa: B006 (the parser reads the default)
    data: str | None = None,
    num: int = 8,
    out: str | None = None,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
    **options: Any,
) -> None:
    """Encode images or videos, decode them again, and write each beside its original (left: original), with the PSNR.
    Of sounds, write what is decoded as WAV, and as PNG the spectrogram of the original above that of the decoded one.
    Of motions, write the decoded joints as .npy, and as GIF the original (left) beside them.

    With `data` in the place of files, write held-out samples of that data and their reconstructions into the run
    folder, where `mmgen report` finds them: NNN.real.* and NNN.*, and record.json.

    Args:
        tokenizer: run folder or export of a tokenizer.
        files: images of the size that the tokenizer was trained for; or videos, of which the centre is taken in that
            size; or sounds of any length, rate and number of channels; or motions of any length, as .npy or BVH.
        data: `held_out`, for what the tokenizer was not trained on of its own data; or other data, as for
            `mmgen evaluate`.
        num: with `data`: how many samples, at most.
        out: folder for the results, made and never written over; `reconstructions` by default, and with `data` the next
            free number in reconstructions/ of `tokenizer`.
        device: cpu, cuda, or auto.
    """
    arguments = default_options("reconstruct") | options

    from pathlib import Path

    from mmgen.core.errors import UserError
    from mmgen.core.modality import modality_of
    from mmgen.core.progress import command_line, print_record, write_record
    from mmgen.data.build import build_source, open_source
    from mmgen.media.folders import next_free, whole_folder
    from mmgen.sampling.samples import pick_device
    from mmgen.store.store import Saved, load_tokenizer

    if bool(files) == (data is not None):
        raise UserError("name files to reconstruct, or --data: one of the two")
    loaded = load_tokenizer(tokenizer, checkpoint).to(pick_device(device))
    modality = modality_of(loaded.spec.modality)
    own = require_own_options("reconstruct", modality, arguments, tokenizer)
    if data is None:
        return modality.reconstruct(loaded, files, out or "reconstructions", own)
    source = build_source(Saved.read(tokenizer).config) if data == "held_out" else open_source(data)
    chosen = {"tokenizer": tokenizer, "files": files, "data": data, "num": num, "out": out, "device": device}
    command = command_line("reconstruct", run, chosen | {"checkpoint": checkpoint} | arguments)
    place = out or str(next_free(Path(tokenizer) / "reconstructions"))
    with whole_folder(place) as folder:
        results = modality.reconstruct_held_out(loaded, source, num, folder)
        record = {"command": command, "data": data, "checkpoint": checkpoint, **results}
        write_record(folder, record)
    print_record(record, place)
