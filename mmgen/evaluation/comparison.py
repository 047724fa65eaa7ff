"""What `mmgen evaluate RUN --compare_to OTHER` measures: the losses of two generators on the same held-out tokens with
the same corruption, such as those of a member of a joint run and of that modality trained alone. Nothing is sampled.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.core.terminal import print_safely
from mmgen.data.base import DataModule
from mmgen.data.build import build_source, trained_source
from mmgen.data.sources import Samples, Source, to_device
from mmgen.evaluation.command import EvaluationOptions, Metric, Rows, budget, metric_rows
from mmgen.evaluation.reference import Reference
from mmgen.sampling.samples import pick_mode, require_tokenizer
from mmgen.store.store import Loaded, Saved, load_generator, weights_hash
from mmgen.training.validation import VALIDATION_SEED, validation_losses

_BATCH = 16


def compare_losses(options: EvaluationOptions, saved: Saved, other: Saved) -> tuple[Rows, Reference]:
    """The losses of two generators in every mode that both have, or in the chosen one. Raises UserError for no mode in
    common, or losses that are not of the same tokens with the same corruption.
    """
    pair = [load_generator(each.path, each.checkpoint).to(options.device) for each in (saved, other)]
    modes = _shared_modes(pair, options.arguments["mode"])
    source = trained_source(saved.config, saved.record, str(saved.path))
    _require_same_tokens(pair)
    _require_same_samples(pair, source, build_source(other.config))
    reference, batch = Reference.held_out(source), options.option("batch", _BATCH)
    data = DataModule(source, batch, tokenizer=str(saved.tokenizer_path()))
    losses: dict[str, list[Tensor]] = {mode: [] for mode in modes}
    with torch.no_grad(), progress_bar("losses", len(reference)) as progress:
        for number, each in enumerate(reference.batches(batch)):
            tokens = data.on_after_batch_transfer(to_device(each, options.device), 0)
            for mode in modes:
                if not number:
                    _require_same_rule(pair, mode, tokens)
                losses[mode].append(torch.stack([_losses(run, mode, tokens) for run in pair]).double().cpu())
            progress(number * batch + len(each["sample"]))
    if saved.step != other.step:
        print_safely(f"{saved.path} took {saved.step:,} steps, {other.path} {other.step:,}")
    how = {"loss": "nats per token, as validation measures it", "compared_to": f"trained for {budget(other)}"}
    rows: Rows = []
    for mode in modes:
        rows += metric_rows(
            loss_metrics(*torch.cat(losses[mode], dim=1)), reference, pair[0].generator, "float32 losses", how,
            samples=len(reference), seed=VALIDATION_SEED, mode=mode, settings=f"compared to {other.path}",
        )  # fmt: skip
    return rows, reference


def loss_metrics(own: Tensor, others: Tensor) -> list[Metric]:
    """Both mean losses (N,) float64 of the same samples, and the relative change from the others' to the own, with
    their standard errors, which cover the choice of the held-out samples and not that of the training.
    """
    change = (own - others).mean() / others.mean()
    metrics = {
        "held_out_loss": (own.mean(), own),
        "held_out_loss_beside": (others.mean(), others),
        "held_out_loss_change": (change, (own - (1 + change) * others) / others.mean()),  # of a ratio of means
    }
    return [Metric(name, value.item(), protocol=_error(spread)) for name, (value, spread) in metrics.items()]


def _error(values: Tensor) -> dict[str, Any]:
    error = values.std(correction=min(1, len(values) - 1)).item() / math.sqrt(len(values))
    return {"standard_error": float(f"{error:.3g}")}


def _losses(run: Loaded, mode: str, batch: dict[str, Any]) -> Tensor:
    return validation_losses(run.generator, run.paradigm.modes()[mode], batch)


def _shared_modes(pair: Sequence[Loaded], mode: str | None) -> list[str]:
    own, others = ([*run.paradigm.modes()] for run in pair)
    if mode is not None:
        for run in pair:
            pick_mode(run, mode)
        return [mode]
    if not (shared := [each for each in own if each in others]):
        raise UserError(
            f"{pair[0].path} and {pair[1].path} have no mode in common: {', '.join(own)} and {', '.join(others)}"
        )
    return shared


def _require_same_tokens(pair: Sequence[Loaded]) -> None:
    """Raises UserError where the losses are not of the same tokens under the same conditions."""
    own, other = pair
    paths = f"{own.path} and {other.path}"
    if own.spec != other.spec:
        raise UserError(f"{paths} are not of the same tokens: {own.spec} and {other.spec}")
    if len({weights_hash(require_tokenizer(run)) for run in pair}) > 1:
        raise UserError(f"{paths} are of tokens of different tokenizers, whose losses do not compare")
    conditions: dict[str, list[Any]] = {  # falsy for a generator without it
        "classes": [run.generator.vocabulary("class") for run in pair],
        "actions": [run.facts.action_names for run in pair],
        "texts": [run.generator.vocabulary("text") for run in pair],
    }
    for name, (one, two) in conditions.items():
        if one and two and one != two:
            raise UserError(f"{paths} were trained on different {name}, so that the same data mean different things")
    if own.paradigm.ends != other.paradigm.ends:
        raise UserError(f"{paths} do not make the same rows of tokens: only those of one end by themselves")


def _require_same_samples(pair: Sequence[Loaded], own: Source, other: Source) -> None:
    """Raises UserError unless the held-out samples of both data are the same, which they may be under two names."""
    if own.describe() != other.describe() and not same_samples(own.samples("val"), other.samples("val")):
        raise UserError(f"{pair[0].path} and {pair[1].path} were trained on data with different held-out samples")


def same_samples(own: Samples, other: Samples) -> bool:
    """Whether all batches are equal."""
    return len(own) == len(other) and all(
        one.keys() == two.keys() and all(_equal(one[name], two[name]) for name in one)
        for one, two in zip(own.batches(_BATCH), other.batches(_BATCH))
    )


def _equal(one: Tensor | list[str], two: Tensor | list[str]) -> bool:
    return torch.equal(one, two) if isinstance(one, Tensor) and isinstance(two, Tensor) else one == two


def _require_same_rule(pair: Sequence[Loaded], mode: str, batch: dict[str, Any]) -> None:
    """Raises UserError where a mode corrupts or counts otherwise: one generator then has two losses under the two."""
    first, second = (run.paradigm.modes()[mode] for run in pair)
    generator = pair[0].generator
    if type(first) is not type(second) or not torch.allclose(
        validation_losses(generator, first, batch), validation_losses(generator, second, batch), equal_nan=True
    ):
        raise UserError(
            f"mode {mode!r} of {pair[0].path} corrupts or counts tokens otherwise than that of {pair[1].path}, so their"
            " losses do not compare; choose another --mode"
        )
