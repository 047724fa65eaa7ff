"""One call of `mmgen evaluate`, passed to the modality whose samples are measured."""

from pathlib import Path

from mmgen.core.command_options import modality_options, require_own_options
from mmgen.core.errors import UserError
from mmgen.core.modality import Modality, all_modalities, modality_of
from mmgen.evaluation.command import EvaluationCommand, EvaluationOptions, Rows
from mmgen.evaluation.comparison import compare_losses
from mmgen.evaluation.reference import Reference
from mmgen.sampling.options import SAMPLING, sample_options
from mmgen.store.store import Saved, load_generator, load_tokenizer


def samples_modality(path: str) -> Modality | None:
    """The modality of a file of samples, by its suffix; None for other paths."""
    return next((each for each in all_modalities() if Path(path).suffix in each.sample_files), None)


def evaluate_samples(path: str, modality: Modality, options: EvaluationOptions) -> tuple[Rows, Reference]:
    """Measure a file of samples. Returns its figures and the real samples."""
    options.reject_options(f"for runs, and {path} is a file of samples", "mode", "num", "compare_to", *SAMPLING)
    return _command(modality, options, path).samples(path)


def evaluate_run(saved: Saved, options: EvaluationOptions) -> tuple[Rows, Reference]:
    """Measure a tokenizer or a generator. Returns its figures and the held-out samples.

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
    sampling = sample_options(options.arguments)
    loaded = load_generator(saved.path, saved.checkpoint).to(options.device)
    return _command(modality_of(loaded.spec.modality), options, path).generator(saved, loaded, sampling)


def _compare(saved: Saved, options: EvaluationOptions) -> tuple[Rows, Reference]:
    other = Saved.read(options.arguments["compare_to"], "generator", checkpoint=saved.checkpoint)
    if saved.kind != "generator":
        raise UserError(f"--compare_to is for generators, and {saved.path} is a {saved.kind}; leave it out")
    reason = "for what is sampled or decoded, and --compare_to measures losses on the run's own data"
    options.reject_options(reason, "num", "seed", "data", *modality_options("evaluate"), *SAMPLING)
    return compare_losses(options, saved, other)


def _command(modality: Modality, options: EvaluationOptions, path: str) -> EvaluationCommand:
    require_own_options("evaluate", modality, options.arguments, path)
    return modality.evaluation()(options.arguments, options.defaults, options.device)
