"""`mmgen export`: a run as a folder to share."""

from typing import Any

from mmgen.core.command_options import default_options, takes_modality_options
from mmgen.core.terminal import print_safely
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint


@takes_modality_options("export")
@takes_checkpoint
def run(path: str, out: str | None = None, checkpoint: CheckpointName = "last", **options: Any) -> None:
    """Write config.yaml, model.safetensors and a generator's tokenizer/ into a new folder that needs nothing else.

    Every command that takes a run takes the export too, and `mmgen fit --config OUT/config.yaml` with a number of steps
    trains the same model again. It is made to be shared: nothing of trainer and loggers is in it, and no absolute path
    but that of an encoder of texts. The weights are those that sampling uses: the average over training (EMA) where the
    run kept one.

    The folder of an autoencoder that diffusers' save_pretrained wrote, or of a codec of sound that transformers' did,
    becomes an export of a tokenizer. Commands take such a folder as it is, too, where the size of its images and one
    token a latent are right, or all levels of its codes.

    Args:
        path: run folder of a tokenizer or a generator, or a folder of diffusers or transformers.
        out: folder for the export, made and never written over; exports/ and the name of the run by default.
    """
    from pathlib import Path

    from mmgen.store.store import save_export

    defaults = default_options("export")
    chosen = {name: value for name, value in options.items() if value != defaults[name]}
    folder = out or Path("exports") / Path(path).resolve().name
    exported = save_export(path, folder, checkpoint, **chosen)
    numbers = sum(value.numel() for value in exported.state.values())
    which = "the average over training (EMA)" if exported.averaged else "as trained (the run kept no average)"
    when = f"after {exported.step} steps" + (" (best checkpoint)" if checkpoint == "best" else "")
    print_safely(f"{exported.kind} of {path} {when}: {numbers:,} numbers, {which}")
    config = exported.path / "config.yaml"
    print_safely(f"written to {exported.path}")
    if exported.step:
        print_safely(f"trains again with: mmgen fit --config {config} --trainer.max_steps {exported.step}")
