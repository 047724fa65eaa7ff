"""`mmgen reconstruct`: what a tokenizer keeps of files."""

from typing import Any

from mmgen.core.command_options import default_options, require_own_options, takes_modality_options
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint


@takes_modality_options("reconstruct")
@takes_checkpoint
def run(
    tokenizer: str,
    files: list[str],
    out: str = "reconstructions",
    checkpoint: CheckpointName = "last",
    device: str = "auto",
    **options: Any,
) -> None:
    """Encode images or videos, decode them again, and write each beside its original (left: original), with the PSNR.
    Of sounds, write what is decoded as WAV, and as PNG the spectrogram of the original above that of the decoded one.
    Of motions, write the decoded joints as .npy, and as GIF the original (left) beside them.

    Args:
        tokenizer: run folder or export of a tokenizer.
        files: images of the size that the tokenizer was trained for; or videos, of which the centre is taken in that
            size; or sounds of any length, rate and number of channels; or motions of any length, as .npy or BVH.
        out: folder for the results, made and never written over.
        device: cpu, cuda, or auto.
    """
    arguments = default_options("reconstruct") | options

    from mmgen.core.modality import modality_of
    from mmgen.sampling.samples import pick_device
    from mmgen.store.store import load_tokenizer

    loaded = load_tokenizer(tokenizer, checkpoint).to(pick_device(device))
    modality = modality_of(loaded.spec.modality)
    own = require_own_options("reconstruct", modality, arguments, tokenizer)
    modality.reconstruct(loaded, files, out, own)
