"""Likelihoods of held-out samples as rows: bits per value of the raw sample, and per image or frame."""

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.evaluation.command import ResultRows, figure_rows, precision_of
from mmgen.evaluation.likelihood import measure_likelihood
from mmgen.evaluation.reference import Reference
from mmgen.store.store import Loaded

DRAWS = 8
"""Corruptions a sample, over which a bound on its likelihood is averaged."""


def modes_with_likelihood(loaded: Loaded, modes: list[str], wanted: bool) -> list[str]:
    """Those that have one, none unless that is wanted. Raises UserError where it is, and there is none."""
    likely = [each for each in modes if loaded.paradigm.modes()[each].likelihood is not None]
    if wanted and not likely:
        raise UserError(f"--likelihood: {loaded.path} has none in mode {' or '.join(modes)}; leave it out")
    return likely if wanted else []


def likelihood_rows(loaded: Loaded, mode: str, reference: Reference, batch: int) -> ResultRows:
    """How well a mode predicts the tokens of the held-out samples; no option of sampling enters it."""
    with progress_bar(f"likelihood: {mode}", len(reference)) as progress:
        figures = measure_likelihood(loaded, mode, reference, batch, DRAWS, progress)
    exact, precision = loaded.paradigm.modes()[mode].likelihood == "exact", precision_of(loaded.generator)
    given = "of the tokens given the class" if loaded.generator.classes else "of the tokens"
    given += " and the actions" if loaded.generator.actions else ""
    kind = f"{given}, exact" if exact else f"{given}, an upper bound, the mean of {DRAWS} draws a sample"
    common = {"samples": len(reference), "seed": 0, "steps": None, "mode": mode}
    frames = reference.sample_shape[1] if len(reference.sample_shape) == 4 else None
    of = "uint8 images" if frames is None else "uint8 clips"
    whole = ("bits_per_image", 1) if frames is None else ("bits_per_frame", frames)
    rows: ResultRows = []
    for name, source, share in (("bits_per_dim", "bits_per_dim", 1), (whole[0], "bits_per_image", whole[1])):
        error = float(f"{figures[f'{source}_se'] / share:.3g}")
        how = {"likelihood": kind, "standard_error": error}
        rows += figure_rows({name: figures[source] / share}, None, reference, common, precision, of, **how)
    return rows
