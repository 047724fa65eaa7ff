"""`mmgen sample`: draw from a trained generator."""

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any, Literal

from mmgen.sampling.options import all_arguments, takes_sampling
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint

_OWN = {
    "images": ("keep", "keep_region", "resize", "animate", "npz"),
    "clips": ("frames", "context", "context_frames", "actions", "fps"),
    "speech": ("text", "prompt", "prompt_text", "seconds"),
    "motions": ("frames", "text"),
}
"""The options that mean something for some kinds of samples alone."""


@takes_sampling
@takes_checkpoint
def run(
    path: str,
    out: str | None = None,
    mode: str | None = None,
    class_: str | None = None,
    num: int | None = None,
    seed: int = 0,
    keep: str | None = None,
    keep_region: str | None = None,
    resize: bool = False,
    animate: bool = False,
    npz: bool = False,
    frames: int | None = None,
    context: str | None = None,
    context_frames: int | None = None,
    actions: str | None = None,
    fps: float | None = None,
    text: list[str] | None = None,
    prompt: str | None = None,
    prompt_text: str | None = None,
    seconds: float | None = None,
    batch: int | None = None,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "int8"] = "float32",
    compile: bool = False,
    **sampling: Any,
) -> None:
    """Draw samples into a new folder: samples.safetensors (the tokens), record.json; of images grid.png and a PNG each;
    of clips grid.mp4, grid.gif, sheet.png (a row a clip) and an MP4 each; of speech a WAV each, and their spectrograms
    in grid.png; of motions an NPY of the joints, a BVH, a GIF and an MP4 each, and poses in grid.png.

    Args:
        path: run folder or export of a generator.
        out: folder for the results, made and never written over; the next free number in samples/ of `path` by default.
        mode: way of sampling, one that the checkpoint was trained for; needed where it has several.
        class_: class names or numbers, separated by commas, that the samples go round; `none` for no class. By default
            all classes in turn, or those of the held-out clips that are gone on with. Of speech they are voices.
        num: how many samples; by default 64 images, 8 clips, of speech as many as texts or named voices, of motions as
            many as texts or classes.
        seed: sample i depends on the seed and on i, and on nothing else.
        keep: images: file of which a region stays as it is, while the rest is filled in.
        keep_region: images: rows and columns of the token grid that stay, such as 0:4 or 0:4,2:6 or :,0:3; goes with
            `keep`.
        resize: images: fit the kept image to the size of the model.
        animate: images: write animation.gif too, with every step on the way.
        npz: images: write samples.npz too, the images and their classes in ADM's form, for its evaluator and
            `mmgen evaluate`.
        frames: clips: how long; more than the model was trained on is a rollout. Motions: how long; by default they end
            by themselves where the run's do, and are as long as its longest where not.
        context: clips: what every clip begins with, a video file or an image, scaled and cut to fit; or `held_out`, for
            clips of the run's data that it was not trained on, another one for each sample.
        context_frames: clips: how many frames of `context` are given; the fewest possible by default.
        actions: clips: what leads to each generated frame, by names or numbers separated by commas, repeated as often
            as is needed; or a file with one a frame (.json: a list; otherwise one a line); or `recorded`, those of the
            held-out clips.
        fps: clips: frames a second of what is written; those of the data by default.
        text: speech, motions: what is said or done, and again for each further text; `@FILE` for a file with one a
            line. With more samples than texts, they go round.
        prompt: speech: recording whose voice every sample goes on in; it is no part of what is written.
        prompt_text: speech: what is said in `prompt`, all of it.
        seconds: speech: how long a sample may be, its prompt included; as long as the clips of training by default.
        batch: samples at a time, by default 64 images, 16 clips or 16 texts; does not change them.
        device: cpu, cuda, or auto.
        precision: of the backbone; `int8` is weights of 8 bits, which need torchao, and all else in bfloat16.
        compile: compile the backbone's passes, on a GPU into CUDA graphs: up to minutes for the first batch, less time
            for all further ones. On a CPU it gains nothing.
    """
    arguments = all_arguments(dict(locals()))

    import torch

    from mmgen.core.progress import command_line
    from mmgen.media.folders import new_folder, next_free
    from mmgen.model.backbone import compile_passes
    from mmgen.model.backbone.precision import lower
    from mmgen.sampling.samples import pick_device, pick_mode
    from mmgen.store.store import load_generator

    loaded = load_generator(path, checkpoint).to(pick_device(device))
    lower(loaded.generator.backbone, precision)
    for each in (loaded.generator.backbone, *(loaded.generator.stacks or ())) if compile else ():
        compile_passes(each)
    pick_mode(loaded, mode)
    made = {"video": "clips", "audio": "speech", "motion": "motions"}.get(loaded.spec.modality, "images")
    _require_fitting(arguments, made, path)
    samples = _samples(made)(loaded, arguments)
    folder = new_folder(out or next_free(Path(path) / "samples"))
    try:
        samples.draw()
    except BaseException:  # refused by the paradigm, or interrupted: leave nothing behind
        folder.rmdir()
        raise
    facts = samples.write(folder)
    record = {
        "command": command_line("sample", run, arguments),
        "mode": mode or next(iter(loaded.paradigm.modes())),
        "seed": seed,
        **facts,
        "guidance": dataclasses.asdict(samples.options.guidance),
        "decoding": dataclasses.asdict(samples.options.decoding),
        "context_noise": samples.options.context_noise,
        "together": samples.options.together,
        "trained_steps": loaded.step,
        "checkpoint": checkpoint,
        "device": str(loaded.generator.device),
        "precision": precision,
        "compiled": compile,
        "torch": torch.__version__,
    }
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n")
    for name, value in record.items():
        plain = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
        print(f"{name + ':':22}{plain}")
    print(f"{'written to:':22}{folder}")


def _samples(made: str) -> Any:
    """The class that does the work, of which only the wanted one is imported."""
    if made == "clips":
        from mmgen.modalities.video.sample_command import ClipSamples

        return ClipSamples
    if made == "speech":
        from mmgen.modalities.speech.sample_command import SpeechSamples

        return SpeechSamples
    if made == "motions":
        from mmgen.modalities.motion.sample_command import MotionSamples

        return MotionSamples
    from mmgen.modalities.image.sample_command import ImageSamples

    return ImageSamples


def _require_fitting(arguments: dict[str, Any], made: str, path: str) -> None:
    """Refuse options that mean nothing for what the run makes."""
    from mmgen.core.errors import UserError

    defaults = inspect.signature(run).parameters
    others = {name for names in _OWN.values() for name in names} - set(_OWN[made])
    for name in (name for name in arguments if name in others):
        if arguments[name] != defaults[name].default:
            kinds = " and ".join(kind for kind, names in _OWN.items() if name in names)
            raise UserError(f"--{name} is for {kinds}, and {path} makes {made}: leave it out")
