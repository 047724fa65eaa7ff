"""Going on from a checkpoint: what was learned is the checkpoint's, options are the recipe's.

A checkpoint of Lightning also holds the options of the optimizer and of its schedule, which would silently replace
those of the recipe. Here they are compared: equal ones go on bit for bit, others act from the next step on, and a line
names both.
"""

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    Callback,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from mmgen.core.errors import UserError
from mmgen.core.terminal import print_safely
from mmgen.training.averaging import EMA, ShardedEMA
from mmgen.training.sharded import is_sharded

# Of a schedule's state: what changes from step to step, or follows from the optimizer's lr.
_RUNNING = ("base_lrs", "_last_lr", "last_epoch", "_step_count", "_get_lr_called_within_step", "_is_initial")

_REFUSED: dict[type[Callback], str] = {
    GradientAccumulationScheduler: "would lose the place in the data: set trainer.accumulate_grad_batches",
    BatchSizeFinder: "would lose the place in the data: set data.global_batch_size",
    LearningRateFinder: "would lose the place in the data: compare --model.optimizer.lr in short runs",
    StochasticWeightAveraging: "goes by epochs, and training is one: set ema.decay for an average",
    WeightAveraging: "is a second average, in the place of the one that is kept: set ema.decay",
    BaseFinetuning: "unfreezes by epochs, and training is one",
}
"""Callbacks of Lightning, and what is wrong with them here."""


@dataclass(frozen=True)
class OptimizerOptions:
    """What an optimizer and its schedule were made with, as they are before the first step.

    Args:
        values: name -> value as text, for comparing; plain types, for checkpoints.
        groups: the options of each parameter group.
        schedule: the schedule's state.
    """

    values: dict[str, str]
    groups: list[dict[str, Any]]
    schedule: dict[str, Any]

    @classmethod
    def of(cls, optimizer: Optimizer, schedule: LRScheduler) -> "OptimizerOptions":
        """Of both, before the first step and before any state is loaded."""
        groups = [{name: each[name] for name in each if name != "params"} for each in optimizer.param_groups]
        sizes = " + ".join(str(len(each["params"])) for each in optimizer.param_groups)
        values = {"optimizer": f"{type(optimizer).__name__} of {sizes} tensors", "schedule": type(schedule).__name__}
        for number, group in enumerate(groups):
            # The schedule has set `lr` already; what the recipe says is `initial_lr`.
            named = group | {"lr": group.get("initial_lr", group.get("lr"))}
            values |= {f"{number}.{name}": repr(named[name]) for name in named if name != "initial_lr"}
        values |= dict(_leaves("schedule", schedule.state_dict()))
        return cls(values, deepcopy(groups), deepcopy(schedule.state_dict()))

    def changes(self, saved: Mapping[str, str]) -> list[str]:
        """What differs from the `values` of a checkpoint, such as `lr 0.001 -> 0.0001`.

        Raises:
            UserError: the optimizer is of another kind, or of other parameters, so that its state cannot go on.
        """
        if saved["optimizer"] != self.values["optimizer"]:
            raise UserError(
                f"the optimizer is {self.values['optimizer']}, and the checkpoint has the state of"
                f" {saved['optimizer']}, with which it cannot go on: give the same, or start a new run"
            )
        names = [name for name in self.values | dict(saved) if self.values.get(name) != saved.get(name)]
        lines = (f"{_label(name)} {saved.get(name, 'none')} -> {self.values.get(name, 'none')}" for name in names)
        return list(dict.fromkeys(lines))

    def act(self, optimizer: Optimizer, schedule: LRScheduler, steps: int) -> None:
        """Give both these options, as if they had had them for all of their steps so far; moments stay."""
        for group, options in zip(optimizer.param_groups, self.groups, strict=True):
            group.update(deepcopy(options))
        schedule.load_state_dict(deepcopy(self.schedule))
        first = 0
        if isinstance(schedule, LambdaLR) and steps:  # a function of the step; others go there step by step
            first = schedule.last_epoch = steps - 1
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*lr_scheduler.step.*before.*optimizer.step.*")
            for _ in range(first, steps):
                schedule.step()


class Resume(Callback):
    """Compares a checkpoint's options with those of the run that goes on from it, lets the latter act, and names both
    in a line. A run without an average goes on from the weights of training, not from their average.
    """

    def __init__(self) -> None:
        self._options: OptimizerOptions | None = None
        self._checkpoint: dict[str, Any] | None = None  # from its loading until it is compared
        self._steps: int | None = None  # of a schedule whose options have changed

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        self._checkpoint = checkpoint
        if "current_model_state" in checkpoint and not _decay(trainer) and not is_sharded(pl_module):
            pl_module.load_state_dict(checkpoint["current_model_state"])
        self._compare(trainer)  # where the model is spread over devices; elsewhere there is no optimizer yet

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if len(trainer.optimizers) != 1 or len(trainer.lr_scheduler_configs) != 1:
            return  # a module of somebody else's
        self._options = OptimizerOptions.of(trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler)
        self._compare(trainer)

    def _compare(self, trainer: L.Trainer) -> None:
        if self._options is None or self._checkpoint is None:
            return
        checkpoint, self._checkpoint = self._checkpoint, None
        saved = checkpoint.get("options")
        if saved is None:  # not written by `mmgen fit`
            return
        changes = self._options.changes(saved["optimizer"])
        if changes:
            self._steps = checkpoint["lr_schedulers"][0]["last_epoch"]
            checkpoint["lr_schedulers"] = []  # the state of another schedule is not loaded
        if saved["ema.decay"] != _decay(trainer):
            changes.append(f"ema.decay {saved['ema.decay']} -> {_decay(trainer)}")
        report_changes(trainer, changes)
        here = {each.state_key for each in trainer.callbacks}
        if gone := [key for key in checkpoint.get("callbacks", {}) if key not in here and key != EMA().state_key]:
            names = ", ".join(key.partition("{")[0] for key in gone)
            _report(trainer, f"the checkpoint has the state of {names}, which this run does without")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Every state is loaded now."""
        if self._steps is not None and self._options is not None:
            self._options.act(trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler, self._steps)
            self._steps = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # The step that loggers see; Lightning miscounts it after a checkpoint that was written behind a validation.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._options is not None:
            checkpoint["options"] = {"optimizer": self._options.values, "ema.decay": _decay(trainer)}


def check_callbacks(callbacks: Iterable[Callback]) -> None:
    """Raises UserError for callbacks of a recipe with which a run would not be what its checkpoints say."""
    for callback in callbacks:
        for kind, reason in _REFUSED.items():
            if isinstance(callback, kind) and not isinstance(callback, EMA):
                raise UserError(f"trainer.callbacks: {type(callback).__name__} {reason}")


def report_changes(trainer: L.Trainer, changes: list[str], of: str = "") -> None:
    """Name options that differ from a checkpoint's, in a line; `of` says whose they are."""
    if changes:
        _report(trainer, f"going on with other options{of} than the checkpoint has: {', '.join(changes)}")


def _report(trainer: L.Trainer, line: str) -> None:
    if trainer.is_global_zero:
        print_safely(line, file=sys.stderr)


def _decay(trainer: L.Trainer) -> float:
    """Of the run's average of weights; 0 without one."""
    averages = [each for each in trainer.callbacks if isinstance(each, EMA | ShardedEMA)]
    return next((each.ema.decay if isinstance(each, ShardedEMA) else each.decay for each in averages), 0.0)


def _label(name: str) -> str:
    """A name in `values` without the group, or the schedule, that it stands for."""
    return ".".join(part.lstrip("_") for part in (name.partition(".")[2] or name).split("."))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The options in a schedule's state, by dotted names, as text."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield name, repr(value)
        return
    for key, each in items:
        if key not in _RUNNING:
            yield from _leaves(f"{name}.{key}", each)
