"""`mmgen sample`: draw from a trained generator."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from mmgen.core.command_options import require_own_options, takes_modality_options
from mmgen.sampling.options import all_arguments, takes_sampling
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint


@takes_modality_options("sample")
@takes_sampling
@takes_checkpoint
def run(
    path: str,
    out: str | None = None,
    mode: str | None = None,
    class_: str | None = None,
    num: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "int8"] = "float32",
    compile: bool = False,
    **options: Any,
) -> None:
    """Draw samples into a new folder: samples.safetensors (the tokens), record.json; of images grid.png and a PNG each;
    of clips grid.mp4, grid.gif, sheet.png (a row a clip) and an MP4 each; of speech a WAV each, and their spectrograms
    in grid.png; of motions an NPY of the joints, a BVH, a GIF and an MP4 each, and poses in grid.png.

    Args:
        path: run folder or export of a generator.
        out: folder for the results, made and never written over; the next free number in samples/ of `path` by default.
        mode: way of sampling, one that the checkpoint was trained for; needed where it has several.
        class_: class names or numbers, separated by commas, that the samples have in turn; `none` for no class. By
            default all classes in turn, or those of held-out samples that are continued. Of speech they are voices.
        num: how many samples; by default 64 images, 8 clips, of speech as many as texts or named voices, of motions as
            many as texts or classes.
        seed: sample i depends on the seed and on i, and on nothing else.
        batch: samples at a time, by default 64 images, 16 clips or 16 texts; does not change them.
        device: cpu, cuda, or auto.
        precision: of the backbone; `int8` is weights of 8 bits, which need torchao, and all else in bfloat16.
        compile: compile the backbone's passes, on a GPU into CUDA graphs: up to minutes for the first batch, less time
            for all further ones. On a CPU it gains nothing.
    """
    arguments = all_arguments(dict(locals()), "sample")

    import torch

    from mmgen.core.modality import modality_of
    from mmgen.core.progress import command_line, print_record, write_record
    from mmgen.media.folders import next_free, whole_folder
    from mmgen.model.backbone import compile_passes
    from mmgen.model.backbone.precision import lower
    from mmgen.sampling.samples import pick_device, pick_mode
    from mmgen.store.store import load_generator

    loaded = load_generator(path, checkpoint).to(pick_device(device))
    lower(loaded.generator.backbone, precision)
    for each in loaded.generator.transformers() if compile else ():
        compile_passes(each)
    pick_mode(loaded, mode)
    modality = modality_of(loaded.spec.modality)
    require_own_options("sample", modality, arguments, path)
    samples = modality.sample(loaded, arguments)
    out = out or str(next_free(Path(path) / "samples"))
    with whole_folder(out) as folder:  # whether it can be written is known before the work
        samples.draw()
        results = samples.write(folder)
        record = {
            "command": command_line("sample", run, arguments),
            "mode": mode or next(iter(loaded.paradigm.modes())),
            "seed": seed,
            **results,
            "guidance": dataclasses.asdict(samples.options.guidance),
            "decoding": dataclasses.asdict(samples.options.decoding),
            "context_noise": samples.options.context_noise,
            "parallel_blocks": samples.options.parallel_blocks,
            "trained_steps": loaded.step,
            "checkpoint": checkpoint,
            "device": str(loaded.generator.device),
            "precision": precision,
            "compiled": compile,
            "torch": torch.__version__,
        }
        write_record(folder, record)
    print_record(record, out)
