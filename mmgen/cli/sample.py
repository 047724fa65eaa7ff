"""`mmgen sample`: draw from a trained generator."""

import dataclasses
import json
from pathlib import Path
from typing import Literal


def run(
    path: str,
    out: str | None = None,
    mode: str | None = None,
    class_: str | None = None,
    num: int = 64,
    seed: int = 0,
    steps: int | None = None,
    cfg: float = 1.0,
    cfg_schedule: Literal["constant", "linear"] = "constant",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    order: Literal["confidence", "margin", "entropy", "random"] = "confidence",
    noise: float = 4.5,
    select: Literal["count", "threshold", "entropy_bound"] = "count",
    threshold: float = 0.9,
    entropy_bound: float = 0.5,
    keep: str | None = None,
    keep_region: str | None = None,
    resize: bool = False,
    animate: bool = False,
    batch: int = 64,
    device: str = "auto",
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
        steps: network steps: per image (masked) or per block (block); one a token in ar.
        cfg: guidance scale s in u + s (c - u): 1 is the plain conditional model, 0 the unconditional one.
        cfg_schedule: constant, or linear from 1 up to the scale over the steps.
        temperature: of the distribution that tokens are drawn from.
        top_k: draw from the k likeliest codes only.
        top_p: draw from the likeliest codes of that total probability only.
        order: which open tokens come first.
        noise: Gumbel noise on that order, falling to 0 over the steps.
        select: how many tokens a step: a count by the schedule, all above a confidence, or all within an entropy.
        threshold: confidence that a token needs, for `select: threshold`.
        entropy_bound: nats that the tokens of one step may hold together, for `select: entropy_bound`.
        keep: image file of which a region stays as it is, while the rest is filled in.
        keep_region: rows and columns of the token grid that stay, such as 0:4 or 0:4,2:6 or :,0:3; goes with `keep`.
        resize: fit the kept image to the size of the model.
        animate: write animation.gif too, with every step on the way.
        batch: samples at a time; does not change them.
        device: cpu, cuda, or auto.
    """
    arguments = dict(locals())

    import torch
    from safetensors.torch import save_file

    from mmgen.cli.progress import command_line, progress_bar
    from mmgen.errors import UserError
    from mmgen.folders import new_folder, next_free
    from mmgen.imaging import comfortable, enlarge, grid, read_image, save_animation, save_png
    from mmgen.paradigms import Decoding, Guidance, SampleOptions
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

    decoding = Decoding(temperature, top_k, top_p, order, noise, select, threshold, entropy_bound)
    options = SampleOptions(steps, Guidance(cfg, cfg_schedule), decoding)
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
        kept = region(keep_region, tokenizer.spec)
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
