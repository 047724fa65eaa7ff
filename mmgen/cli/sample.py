"""`mmgen sample`: draw from a trained generator."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from mmgen.cli.options import all_arguments, sample_options, takes_sampling


@takes_sampling
def run(
    path: str,
    out: str | None = None,
    mode: str | None = None,
    class_: str | None = None,
    num: int = 64,
    seed: int = 0,
    keep: str | None = None,
    keep_region: str | None = None,
    resize: bool = False,
    animate: bool = False,
    npz: bool = False,
    batch: int = 64,
    device: str = "auto",
    **sampling: Any,
) -> None:
    """Draw samples into a new folder: grid.png, a PNG each, samples.safetensors (the tokens) and record.json.

    Args:
        path: run folder or export of a generator.
        out: folder for the results, made and never written over; the next free number in samples/ of `path` by default.
        mode: way of sampling, one that the checkpoint was trained for; needed where it has several.
        class_: class names or numbers, separated by commas, that the samples go round; `none` for no class. All classes
            in turn by default.
        num: how many samples.
        seed: sample i depends on the seed and on i, and on nothing else.
        keep: image file of which a region stays as it is, while the rest is filled in.
        keep_region: rows and columns of the token grid that stay, such as 0:4 or 0:4,2:6 or :,0:3; goes with `keep`.
        resize: fit the kept image to the size of the model.
        animate: write animation.gif too, with every step on the way.
        npz: write samples.npz too: the images and their classes in ADM's form, for its evaluator and `mmgen evaluate`.
        batch: samples at a time; does not change them.
        device: cpu, cuda, or auto.
    """
    arguments = all_arguments(dict(locals()))

    import torch
    from safetensors.torch import save_file

    from mmgen.cli.progress import command_line, progress_bar
    from mmgen.errors import UserError
    from mmgen.evaluation.npz import write_npz
    from mmgen.folders import new_folder, next_free
    from mmgen.imaging import comfortable, enlarge, grid, read_image, save_animation, save_png, to_uint8
    from mmgen.sampling import (
        check_request,
        class_labels,
        pick_device,
        pick_mode,
        region,
        require_tokenizer,
        sample_images,
        state_images,
    )
    from mmgen.store import load_generator

    options = sample_options(arguments)
    loaded = load_generator(path).to(pick_device(device))
    pick_mode(loaded, mode)
    tokenizer = require_tokenizer(loaded)
    labels = class_labels([name.strip() for name in class_.split(",")] if class_ else [], num, loaded)
    known, kept = None, None
    if (keep is None) != (keep_region is None):
        lacking = "keep_region needs --keep" if keep is None else "keep needs --keep_region"
        raise UserError(f"--{lacking}: which image, and which part of it, stays as it is")
    if keep is not None and keep_region is not None:
        image = read_image(keep, tokenizer.sample_shape, resize)
        known = tokenizer.encode(image[None].to(loaded.generator.device)).values
        kept = region(keep_region, tokenizer.spec)[None]
    check_request(loaded, labels, options, batch)
    folder = new_folder(out or next_free(Path(path) / "samples"))
    try:
        with progress_bar("sampling", num) as progress:
            sampled = sample_images(
                loaded,
                mode,
                labels,
                options,
                seed,
                batch=batch,
                known=known,
                keep=kept,
                keep_states=animate,
                progress=progress,
            )
    except BaseException:  # refused by the paradigm, or interrupted: leave nothing behind
        folder.rmdir()
        raise

    times = comfortable(sampled.images)
    save_png(grid(enlarge(sampled.images, times)), folder / "grid.png")
    for number, image in enumerate(sampled.images):
        save_png(image, folder / f"{number:0{len(str(num - 1))}d}.png")
    if sampled.states is not None:
        frames = [grid(enlarge(state_images(tokenizer, state), times)) for state in sampled.states]
        save_animation(frames, folder / "animation.gif")
    save_file({"tokens": sampled.tokens, "labels": labels}, folder / "samples.safetensors")
    if npz:
        write_npz(folder / "samples.npz", to_uint8(sampled.images), labels)
    record = {
        "command": command_line("sample", run, arguments),
        "mode": mode or next(iter(loaded.paradigm.modes())),
        "seed": seed,
        "samples": num,
        "steps": sampled.steps,
        "forward_passes": sampled.forward_passes,
        "seconds": round(sampled.seconds, 3),
        "seconds_per_sample": round(sampled.seconds / num, 5),
        "guidance": dataclasses.asdict(options.guidance),
        "decoding": dataclasses.asdict(options.decoding),
        "trained_steps": loaded.step,
        "device": str(loaded.generator.device),
        "torch": torch.__version__,
    }
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n")
    for name, value in record.items():
        plain = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
        print(f"{name + ':':20}{plain}")
    print(f"{'written to:':20}{folder}")
