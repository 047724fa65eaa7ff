"""One call of `mmgen evaluate`: its options, the metrics that it yields, and their rows in results.json."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from torch import nn

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress, progress_bar
from mmgen.data.build import build_source, open_source, require_same_values
from mmgen.data.sources import Source
from mmgen.evaluation.reference import Reference
from mmgen.paradigms import SampleOptions
from mmgen.paradigms.base import ConditionValues
from mmgen.sampling.options import settings
from mmgen.sampling.samples import Samples as DrawnSamples
from mmgen.sampling.samples import SamplingTask, pick_mode
from mmgen.store.results import Better, metric_name
from mmgen.store.store import Loaded, Saved

Rows = list[dict[str, Any]]
"""Fields of `mmgen.store.results.Figure`, one dictionary for each metric."""

SamplesT = TypeVar("SamplesT")


@dataclass(frozen=True, eq=False)
class Metric:
    """A measured value."""

    metric: str  # base name
    value: float  # finite
    network: str | None = None  # name of the network that looked at the samples; None for none
    protocol: dict[str, Any] = field(default_factory=dict)  # how this metric was measured
    better: Better | None = None  # which way is better, for a name that `mmgen.store.results.METRICS` does not list

    @property
    def name(self) -> str:
        """Full metric name."""
        return metric_name(self.metric, self.network)


@dataclass(frozen=True, eq=False)
class Report(Generic[SamplesT]):
    """What was measured of a tokenizer or of one mode of a generator."""

    metrics: list[Metric]  # in the order of results.json
    samples: SamplesT  # the reconstructions or samples
    steps: int | None = None  # that the sampler took; None where nothing was sampled

    @property
    def values(self) -> dict[str, float]:
        """Full metric name -> value."""
        return {each.name: each.value for each in self.metrics}


@dataclass(frozen=True)
class ModeSampling:
    """One mode of a generator, and how its samples are drawn."""

    loaded: Loaded  # the generator, on the device where it runs
    mode: str  # one of `loaded.paradigm.modes()`
    options: SampleOptions = field(default_factory=SampleOptions)  # steps, guidance and decoding
    seed: int = 0  # with a sample's number, the key of its randomness
    batch: int = 16  # samples at a time; changes no sample, only the time
    progress: Progress | None = None  # called with the number of samples that are done

    def task(self, conditions: Mapping[str, ConditionValues], **more: Any) -> SamplingTask:
        """Samples of these conditions; `more` are further arguments of `SamplingTask`."""
        more = {"progress": self.progress, "batch": self.batch} | more
        return SamplingTask(self.loaded, self.mode, conditions, self.options, self.seed, **more)


@dataclass(frozen=True)
class EvaluationOptions:
    """The options of the command."""

    arguments: dict[str, Any]  # by name, with those of sampling and of the modality
    defaults: dict[str, Any]  # their defaults
    device: str  # that networks run on

    def option(self, name: str, default: Any) -> Any:
        """An option, or the default where it is None."""
        value = self.arguments[name]
        return default if value is None else value

    def reject_options(self, why: str, *names: str) -> None:
        """Raises UserError for the first of these options that differs from its default."""
        for name in names:
            if name in self.defaults and self.arguments[name] != self.defaults[name]:
                raise UserError(f"--{name} is {why}; leave it out")


class EvaluationCommand(EvaluationOptions, ABC):
    """One call of the command, on samples of one modality. Errors are raised before anything is measured.

    Attributes:
        measured: what the metrics are computed on.
        default_num: samples of a mode.
        default_batch: samples in memory at once.
    """

    measured: ClassVar[str] = "uint8 images"
    default_num: ClassVar[int] = 100
    default_batch: ClassVar[int] = 16

    @abstractmethod
    def tokenizer(self, saved: Saved, tokenizer: Any) -> tuple[Rows, Reference]:
        """Metrics of a tokenizer's reconstructions, and the held-out samples."""

    @abstractmethod
    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[Rows, Reference]:
        """Metrics of a generator in each mode, or in the chosen one, and the held-out samples."""

    def samples(self, file: str) -> tuple[Rows, Reference]:
        """Metrics of a file of samples, and the real ones."""
        raise UserError(f"{file} holds samples, and only runs can be measured here")

    @property
    def seed(self) -> int:
        """Of sampling."""
        return self.arguments["seed"]

    @property
    def batch(self) -> int:
        """Samples at a time."""
        return self.option("batch", self.default_batch)

    def num(self, least: int) -> int | None:
        """`--num`. Raises UserError where it is below `least`."""
        count = self.arguments["num"]
        if count is not None and count < least:
            raise UserError(f"--num must be at least {least}, got {count}")
        return count

    def modes(self, loaded: Loaded) -> list[str]:
        """The chosen mode, or all. Raises UserError for an unknown one."""
        mode = self.arguments["mode"]
        if mode is not None:
            pick_mode(loaded, mode)
        return list(loaded.paradigm.modes()) if mode is None else [mode]

    def source(self, saved: Saved) -> Source:
        """The data of `--data`, or those that the run was trained on. Raises UserError where a generator was trained on
        data of other classes, actions, alphabet or rates.
        """
        data = self.arguments["data"]
        source = build_source(saved.config) if data is None else open_source(data)
        if saved.record:
            require_same_values(source, saved.record, str(saved.path), other=data is not None)
        return source

    def settings(self) -> str | None:
        """The options of sampling that are not the default ones."""
        return settings(self.arguments)

    def rows(self, metrics: Sequence[Metric], reference: Reference, network: nn.Module | None, samples: int) -> Rows:
        """Rows of metrics of reconstructions, of real samples, or of samples in a file."""
        return metric_rows(metrics, reference, network, self.measured, samples=samples)

    @contextmanager
    def sampling(
        self, what: str, count: int, loaded: Loaded, mode: str, options: SampleOptions
    ) -> Iterator[ModeSampling]:
        """One mode with the seed and batch of the command, and a progress bar up to `count`."""
        with progress_bar(f"{what}: {mode}", count) as progress:
            yield ModeSampling(loaded, mode, options, self.seed, self.batch, progress)

    def mode_rows(
        self, sampling: ModeSampling, report: Report[Any], reference: Reference, samples: int, **protocol: Any
    ) -> Rows:
        """Rows of what was measured of one mode. A sampler that decides by itself how long it goes on has no steps."""
        decoding, network = sampling.options.decoding, sampling.loaded.generator
        adaptive = decoding.select != "count" or decoding.stop_entropy is not None
        return metric_rows(
            report.metrics, reference, network, self.measured, protocol, samples=samples, seed=sampling.seed,
            steps=None if adaptive else report.steps, mode=sampling.mode, settings=self.settings(),
        )  # fmt: skip


def metric_rows(
    metrics: Sequence[Metric],
    reference: Reference,
    network: nn.Module | None,
    measured: str,
    protocol: dict[str, Any] | None = None,
    *,
    samples: int,
    seed: int | None = None,
    steps: int | None = None,
    **fields: Any,
) -> Rows:
    """A row for each metric; `samples` and what follows are fields of `mmgen.store.results.Figure`.

    Args:
        metrics: with their own protocols.
        reference: the real samples.
        network: that made the samples, for its precision; None where mmgen ran none.
        measured: such as `float32 features`.
        protocol: how all were measured.
    """
    precision = "" if network is None else str(next(network.parameters()).dtype).removeprefix("torch.") + " network, "
    how = {"crop": reference.crop, "n": samples, "seed": seed, "dtype": precision + measured} | (protocol or {})
    fields |= {"samples": samples, "seed": seed, "steps": steps}
    return [
        {"metric": each.metric, "value": each.value, "extractor": each.network, "better": each.better}
        | fields
        | {"protocol": how | each.protocol | {"reference": reference.about()}}
        for each in metrics
    ]


def cost_metrics(samples: DrawnSamples, seconds: Metric) -> list[Metric]:
    """`forward_passes` and `tokens_per_forward` of samples, and their time."""
    passes = Metric("forward_passes", float(samples.forward_passes))
    return [passes, Metric("tokens_per_forward", samples.tokens_per_forward), seconds]


def budget(saved: Saved) -> str:
    """What the training of a run has cost, as far as its config says it."""
    size = ((saved.config.get("data") or {}).get("init_args") or {}).get("global_batch_size")
    return f"{saved.step:,} steps" + (f" x {size} samples" if isinstance(size, int) else "")
