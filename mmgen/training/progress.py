"""How a training run shows where it stands: a bar on a terminal, a line now and then elsewhere, its speed in both."""

import sys
import time
from datetime import timedelta
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Callback, ProgressBar, RichProgressBar

from mmgen.core.terminal import print_safely
from mmgen.training.optim import TrainedModule


class Throughput(Callback):
    """Logs `train/tokens_per_second` (or samples) over all devices without the time of validation, and
    `train/wait_share`, the part of it in [0, 1] that this process waited for batches.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started, self._work, self._away = time.perf_counter(), 0, 0.0
        self._ended, self._waited = self._started, 0.0

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._away = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._started += time.perf_counter() - self._away
            self._ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # What has passed since the last batch is the time that this one took to load, or to encode.
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module, self._ended = cast(TrainedModule, pl_module), time.perf_counter()
        self._work += module.work(batch) * trainer.world_size
        if trainer.fit_loop.epoch_loop._should_accumulate() or trainer.global_step % trainer.log_every_n_steps:
            return
        passed = self._ended - self._started
        pl_module.log(f"train/{module.work_unit}_per_second", self._work / passed, prog_bar=True)
        pl_module.log("train/wait_share", self._waited / passed)
        self._started, self._work, self._waited = self._ended, 0, 0.0


def progress() -> ProgressBar:
    """The kind of progress display that fits where the output goes."""
    return Bar() if sys.stdout.isatty() else Lines()


class Bar(RichProgressBar):
    """Rich's bar over all of the run's batches, so that the time it says is left is that of the run."""

    @property
    def total_train_batches(self) -> int | float:
        """Batches of the whole run: the stream itself has no end."""
        return _total(self.trainer)

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"  # there is one epoch, without end

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        return _brief(super().get_metrics(trainer, pl_module))


class Lines(ProgressBar):
    """A line every `seconds`, and one at the end, for logs."""

    def __init__(self, seconds: float = 20.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._silent = False

    def disable(self) -> None:
        self._silent = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = self._printed = time.perf_counter()
        self._first = trainer.fit_loop.epoch_loop.batch_progress.current.processed

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, done, total = time.perf_counter(), batch_idx + 1, _total(trainer)
        if self._silent or (now - self._printed < self.seconds and done < total):
            return
        gone, metrics = now - self._started, _brief(self.get_metrics(trainer, pl_module)).items()
        figures = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in metrics]
        left = gone / max(1, done - self._first) * (total - done)
        clock = f"{_clock(gone)} gone, {_clock(left)} left"
        print_safely("  ".join([f"step {trainer.global_step}/{trainer.max_steps}", *figures, clock]), flush=True)
        self._printed = now


def _total(trainer: L.Trainer) -> int | float:
    steps = trainer.max_steps * trainer.accumulate_grad_batches if trainer.max_steps > 0 else float("inf")
    return min(trainer.num_training_batches, steps)


def _brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """Names without what goes without saying."""
    brief: dict[str, Any] = {}
    for name, value in metrics.items():
        if name.endswith("_per_second"):
            brief[name.removeprefix("train/").replace("_per_second", "/s")] = f"{value:,.0f}"
        elif name != "v_num":
            brief[name.removeprefix("train/")] = value
    return brief


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if seconds < float("inf") else "?"
