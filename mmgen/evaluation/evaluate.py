"""One call of `mmgen evaluate`, handed to the modality whose samples are measured."""

from pathlib import Path

from mmgen.core.command_options import modality_options, require_own_options
from mmgen.core.errors import UserError
from mmgen.core.modality import Modality, all_modalities, modality_of
from mmgen.evaluation.command import EvaluationCommand, EvaluationOptions, ResultRows
from mmgen.evaluation.comparison import compare_losses
from mmgen.evaluation.reference import Reference
from mmgen.sampling.options import SAMPLING, sample_options
from mmgen.store.store import Saved, load_generator, load_tokenizer


def samples_modality(path: str) -> Modality | None:
    """The modality whose files of samples end as this path does; None where it is no such file."""
    suffix = Path(path).suffix
    return next((each for each in all_modalities() if suffix in each.sample_files), None)


def evaluate_samples(path: str, modality: Modality, options: EvaluationOptions) -> tuple[ResultRows, Reference]:
    """What is measured of a file of samples, and the real ones. Raises UserError before anything is measured."""
    options.reject_options(f"for runs, and {path} is a file of samples", "mode", "num", "compare_to", *SAMPLING)
    return _command(modality, options, path).samples(path)


def evaluate_run(saved: Saved, options: EvaluationOptions) -> tuple[ResultRows, Reference]:
    """What is measured of a tokenizer or a generator, and the held-out samples.

    Raises:
        UserError: an option that does not fit the run, or as the modality's command does, before anything is measured.
    """
    path = str(saved.path)
    if options.arguments["compare_to"] is not None:
        return _compare(saved, options)
    if saved.kind == "tokenizer":
        options.reject_options(f"for generators, and {path} is a tokenizer", "mode", "seed", *SAMPLING)
        tokenizer = load_tokenizer(saved.path, saved.checkpoint).to(options.device)
        return _command(modality_of(tokenizer.spec.modality), options, path).tokenizer(saved, tokenizer)
    chosen = sample_options(options.arguments)
    loaded = load_generator(saved.path, saved.checkpoint).to(options.device)
    return _command(modality_of(loaded.spec.modality), options, path).generator(saved, loaded, chosen)


def _compare(saved: Saved, options: EvaluationOptions) -> tuple[ResultRows, Reference]:
    other = Saved.read(options.arguments["compare_to"], "generator", checkpoint=saved.checkpoint)
    if saved.kind != "generator":
        raise UserError(f"--compare_to is for generators, and {saved.path} is a {saved.kind}; leave it out")
    unused = ("num", "seed", "data", *modality_options("evaluate"), *SAMPLING)
    reason = "for what is sampled or decoded, and --compare_to measures losses on the run's own data"
    options.reject_options(reason, *unused)
    return compare_losses(options, saved, other)


def _command(modality: Modality, options: EvaluationOptions, path: str) -> EvaluationCommand:
    require_own_options("evaluate", modality, options.arguments, path)
    return modality.evaluation()(options.arguments, options.defaults, options.device)
