"""One call of `mmgen evaluate`, and how figures of all kinds become rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import Extractor, Judge
from mmgen.evaluation.reference import Reference
from mmgen.paradigms import SampleOptions
from mmgen.store.results import base_metric, metric_name
from mmgen.store.store import Loaded, Saved

ResultRows = list[tuple[dict[str, Any], dict[str, float]]]
"""Pairs of what some figures have in common (fields of `mmgen.store.results.Figure`) and their values by base name."""


@dataclass(frozen=True)
class EvaluationOptions:
    """The options of the command.

    Args:
        arguments: by name, those of sampling and of the modality among them.
        defaults: their defaults.
        device: that networks run on.
    """

    arguments: dict[str, Any]
    defaults: dict[str, Any]
    device: str

    def given(self, name: str, default: Any) -> Any:
        """An option, or that default where nobody chose."""
        value = self.arguments[name]
        return default if value is None else value

    def reject_options(self, why: str, *names: str) -> None:
        """Raises UserError for the first of these options that was given."""
        for name in names:
            if name in self.defaults and self.arguments[name] != self.defaults[name]:
                raise UserError(f"--{name} is {why}; leave it out")


class EvaluationCommand(EvaluationOptions, ABC):
    """One call of the command, on samples of one modality."""

    @abstractmethod
    def tokenizer(self, saved: Saved, tokenizer: Any) -> tuple[ResultRows, Reference]:
        """What a tokenizer keeps of held-out samples, and these. Raises UserError before anything is measured."""

    @abstractmethod
    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[ResultRows, Reference]:
        """How good a generator's samples are in each of its modes, or in the chosen one, and the held-out samples.
        Raises UserError before anything is sampled.
        """

    def samples(self, file: str) -> tuple[ResultRows, Reference]:
        """How good samples in a file are, whatever made them. Raises UserError as `generator`."""
        raise UserError(f"{file} holds samples, and only runs can be measured here")


@dataclass(frozen=True, eq=False)
class Metric:
    """A figure, and what is to be said of it alone.

    Args:
        metric: base name.
        value: of it.
        network: name of the network that judged; None where none did.
        protocol: what is to be said of this one beside what all have.
    """

    metric: str
    value: float
    network: str | None = None
    protocol: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Full metric name."""
        return metric_name(self.metric, self.network)


def metric_rows(
    figures: Sequence[Metric], reference: Reference, common: dict[str, Any], precision: str, of: str, **protocol: Any
) -> ResultRows:
    """A row a figure, each with its own protocol.

    Args:
        figures: each with its own protocol.
        reference: the real ones.
        common: fields of a figure.
        precision: of the network that made the samples.
        of: what was measured, such as `float32 features`.
        protocol: what else is to be said of how all were measured.
    """
    how = {"crop": reference.crop, "n": common["samples"], "seed": common["seed"]}
    how |= {"dtype": f"{precision} network, {of}"} | protocol
    about = {"reference": reference.about()}
    rows: ResultRows = []
    for each in figures:
        network = {} if each.network is None else {"extractor": each.network}
        rows.append((common | network | {"protocol": how | each.protocol | about}, {each.metric: each.value}))
    return rows


def figure_rows(
    figures: dict[str, float],
    extractor: Extractor | None,
    reference: Reference,
    common: dict[str, Any],
    precision: str,
    of: str = "uint8 images",
    **protocol: Any,
) -> ResultRows:
    """Figures by base name, apart by whether the extractor made them, with their protocol.

    Args:
        figures: full metric name -> value.
        extractor: which looked at the samples; None where none did.
        reference: the real ones.
        common: fields of a figure.
        precision: of the network that made the samples; empty where mmgen ran none.
        of: what was measured.
        protocol: what else is to be said of how they were measured.
    """
    how = {"crop": reference.crop, "n": common["samples"], "seed": common["seed"]}
    how |= {"dtype": f"{precision} network, {of}" if precision else of} | protocol
    about = {"reference": reference.about()}
    looked = (
        {} if extractor is None else {name: figures[name] for name in figures if name.endswith(f"_{extractor.name}")}
    )
    rows: ResultRows = []
    if extractor is not None and looked:
        based = {base_metric(name, extractor.name): value for name, value in looked.items()}
        judged = {"extractor_accuracy": extractor.accuracy} if isinstance(extractor, Judge) else {}
        rows += [(common | {"extractor": extractor.name, "protocol": how | extractor.protocol | judged | about}, based)]
    plain = {name: value for name, value in figures.items() if name not in looked}
    return [*rows, (common | {"protocol": how | about}, plain)] if plain else rows


def budget(saved: Saved) -> str:
    """What the training of a run has cost, as far as its config says it."""
    size = ((saved.config.get("data") or {}).get("init_args") or {}).get("global_batch_size")
    return f"{saved.step:,} steps" + (f" x {size} samples" if isinstance(size, int) else "")


def precision_of(module: nn.Module) -> str:
    """`float32`."""
    return str(next(module.parameters()).dtype).removeprefix("torch.")


def adaptive(options: SampleOptions) -> bool:
    """Whether the sampler itself decides how many steps it takes."""
    return options.decoding.select != "count" or options.decoding.stop_entropy is not None
