"""`mmgen evaluate`: the figures of a run."""

import inspect
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgen.core.command_options import default_options, takes_modality_options
from mmgen.core.terminal import print_safely
from mmgen.sampling.options import all_arguments, takes_sampling
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint

if TYPE_CHECKING:
    from mmgen.store.results import Figure


@takes_modality_options("evaluate")
@takes_sampling
@takes_checkpoint
def run(
    path: str,
    mode: str | None = None,
    num: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    data: str | None = None,
    compare_to: str | None = None,
    card: str | None = None,
    out: str | None = None,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
    **options: Any,
) -> None:
    """Measure a tokenizer on held-out samples, or a generator's samples against held-out ones: images of all classes in
    turn; clips as the continuation of held-out ones; speech as their sentences said anew; motions as what is done in
    them done anew. The figures are printed, and kept in results.json of the run folder, where `mmgen report` finds
    them.

    Args:
        path: run folder or export of a tokenizer or a generator; or samples.npz, images that anything has drawn, as
            ADM's evaluator takes them (arr_0 uint8 (N, H, W, 3), classes in arr_1).
        mode: way of sampling; by default all that the checkpoint was trained for, one after the other.
        num: how many samples to draw in each mode: 1000 images, 100 clips, sentences or motions by default. Of a
            tokenizer of clips, speech or motions: how many held-out ones to measure, all by default.
        seed: sample i depends on the seed and on i, and on nothing else.
        batch: samples at a time, 100 images, 16 clips, sentences or motions by default; changes no figure but the time.
        data: `digits`, `emoji`, `photos`, `moving_digits`, `atari`, `espeak_speech`, `asterisk_prompts`, `mocap`, a
            YAML file with a `data` section, or a run; by default what the run was trained on.
        compare_to: of a generator: sample nothing, and measure its losses on the held-out tokens beside those of this
            other run or RUN/MEMBER, in the modes that both have and with the same corruption.
        card: recipe folder whose results.json takes the figures, and whose README.md is rendered again.
        out: JSON file for the figures, made and never written over.
        device: cpu, cuda, or auto.
    """
    arguments = all_arguments(dict(locals()), "evaluate")
    started = time.perf_counter()

    from mmgen.core.errors import UserError
    from mmgen.core.progress import command_line
    from mmgen.evaluation.card import update_card, words
    from mmgen.evaluation.command import EvaluationOptions, budget
    from mmgen.evaluation.evaluate import evaluate_run, evaluate_samples, samples_modality
    from mmgen.media.folders import require_new_file, require_writable
    from mmgen.sampling.samples import pick_device
    from mmgen.store.results import measured, read, write, write_json
    from mmgen.store.store import Saved

    file_of = samples_modality(path)
    saved = None if file_of is not None else Saved.read(path, checkpoint=checkpoint)
    on = pick_device(device)
    if card is not None:
        read(card)  # what is wrong with the card is told before the work, not after it
        words(Path(card))
        require_writable(Path(card), f"card folder {card}")
    if out is not None:
        require_new_file(out, "--out")

    defaults = {parameter.name: parameter.default for parameter in inspect.signature(run).parameters.values()}
    defaults |= default_options("evaluate")
    chosen = EvaluationOptions(arguments, defaults, str(on))
    if file_of is not None:
        rows, real = evaluate_samples(path, file_of, chosen)
    else:
        assert saved is not None
        rows, real = evaluate_run(saved, chosen)
    if infinite := [row["metric"] for row in rows if not math.isfinite(row["value"])]:
        raise UserError(f"{path}: {infinite[0]} has no finite value on this data, so there is no figure to record")
    how: dict[str, Any] = {
        "command": command_line("evaluate", run, arguments),
        "data": real.name,
        "seconds": time.perf_counter() - started,
        "budget": None if saved is None else budget(saved),
        "device": str(on),
        "checkpoint": None if checkpoint == "last" else checkpoint,
        "training_seed": None if saved is None else saved.config.get("seed_everything") or None,
    }
    figures = [measured(**row, **how) for row in rows]
    _print(figures)
    if out is not None:
        write_json(Path(out), [figure.to_dict() for figure in figures])
    if saved is not None:
        _keep_with_run(Path(path), figures)
    if card is not None:
        write(card, figures)
        update_card(Path(card))
        print_safely(f"written to {card}")


def _keep_with_run(path: Path, figures: "list[Figure]") -> None:
    """Into results.json of the run, for `mmgen report`; a note where it may not be written to."""
    from mmgen.core.errors import UserError
    from mmgen.store.results import write

    try:
        path.mkdir(parents=True, exist_ok=True)  # RUN/MEMBER, which is no folder yet
        write(path, figures)
    except (UserError, OSError) as error:
        print_safely(f"not kept in {path}: {error}")


def _print(figures: "list[Figure]") -> None:
    """A line for each metric, a column for each mode; what belongs to none is of the recordings themselves."""
    from mmgen.evaluation.card import number

    modes = list(dict.fromkeys(figure.mode for figure in figures))
    values = {(figure.metric, figure.mode): number(figure.value) for figure in figures}
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    width = max(map(len, metrics))
    if modes != [None]:
        print_safely(" " * width + "".join(f"{mode or 'recordings':>12}" for mode in modes))
    for metric in metrics:
        print_safely(f"{metric:<{width}}" + "".join(f"{values.get((metric, mode), ''):>12}" for mode in modes))
