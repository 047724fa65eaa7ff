"""Signals while training: the step is finished and saved, then the run ends, in all processes at the same step."""

import time
from contextlib import ExitStack
from types import FrameType
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from mmgen.core.interruption import Interrupted, handle_signals, interrupt
from mmgen.training.checkpoints import Checkpoints, is_validated

_SAME = 2.0  # seconds: torchrun and some schedulers send one signal twice


class EndOnSignal(Checkpoint):
    """Ends training after the step in which Ctrl-C or SIGTERM came, with a checkpoint of that step; a second signal
    ends it at once. Of several processes, it is enough that one has the signal. Raises Interrupted.

    It is a `Checkpoint` so that Lightning calls it after all callbacks that change weights or save them.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._received = 0.0
        self._early = False  # the checkpoint of this step is from before its validation
        self._ends = False  # all processes have agreed, and the checkpoint is written
        self._handlers = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # In the place of Lightning's own handlers, which let a run end as if it had finished, and may wait for ever
        # where several processes compute.
        self._handlers.enter_context(handle_signals(self._receive))
        self._signal, self._early, self._ends = None, False, False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._ends:  # only now are the figures of the last step in the logs
            assert self._signal is not None
            raise Interrupted(self._signal)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.fit_loop.epoch_loop._should_accumulate() and self._agree(trainer, pl_module):
            self._save(trainer, again=False)
            # A run that went on from here would lose this step's validation, which comes first if it is due. It is
            # saved all the same, should the sender of the signal not wait that long.
            self._ends = not is_validated(trainer)
            self._early = not self._ends

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and self._agree(trainer, pl_module):
            self._save(trainer, again=self._early)
            self._ends = True

    def _agree(self, trainer: L.Trainer, pl_module: L.LightningModule) -> bool:
        """Whether any process has had a signal, with steps still to be taken."""
        number = self._signal or 0  # read once: a signal may come at any time
        if trainer.world_size > 1:
            own = torch.tensor(number, device=pl_module.device)
            number = int(trainer.strategy.reduce(own, reduce_op="max"))
        if number and self._signal is None:
            self._signal, self._received = number, time.monotonic()
        return number > 0 and trainer.global_step != trainer.max_steps

    def _save(self, trainer: L.Trainer, again: bool) -> None:
        for each in trainer.callbacks:
            if isinstance(each, Checkpoints):
                each.save(trainer, again)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._handlers.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._handlers.close()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._signal is None:
            self._signal, self._received = number, time.monotonic()
        elif time.monotonic() - self._received > _SAME:
            interrupt(number)


def lost_rank(error: Exception) -> str | None:
    """A line on an error that comes from the end of another process of the run; None for one that does not."""
    lost = isinstance(error, dist.DistError) or "by peer" in str(error)
    if not lost or not (dist.is_available() and dist.is_initialized()):
        return None
    return "another process of this run has ended: its own message says why; --ckpt_path last goes on"
