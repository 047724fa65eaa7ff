"""Steps whose loss or gradient is NaN or infinite: not taken, counted, kept to be looked at, and not for ever."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.media.folders import write_whole
from mmgen.training.optim import trained_networks, trained_parameters

FOLDER = "skipped"
_FILES = 10  # batches kept a run; more would tell nothing new


class SkipBadSteps(Callback):
    """Leaves out optimiser steps whose loss or gradient holds NaN or infinity, and ends a run that has only such.

    A skipped step counts as one (of max_steps, and of the learning rate's schedule) and changes no weight, no moment
    and no buffer that the batch wrote to (a codebook, an average of gradients' norms). Of accumulated batches, all go;
    a discriminator skips with its tokenizer. `train/skipped_steps` counts them once there are any, and `RUN/skipped/`
    keeps the batch of each, the first ten of the run, as safetensors. All ranks decide the same. Where losses are
    scaled (`16-mixed`), infinite gradients are the scaler's to skip.

    Args:
        limit: steps skipped in a row that end the run; 0 looks at nothing.
    """

    def __init__(self, limit: int = 10) -> None:
        if limit < 0:
            raise UserError(f"skip.limit {limit} must be at least 0")
        self.limit, self.skipped, self.in_a_row = limit, 0, 0
        self._folder: Path | None = None
        self._batch: Any = None  # the first bad one of this step, or the last one
        self._bad = False  # a loss of this step was
        self._before: list[Tensor] = []  # buffers as they were when this step began
        self._norms: dict[str, Tensor] = {}

    def put_into(self, run: Path) -> None:
        """Choose the run folder."""
        self._folder = run / FOLDER

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self.limit:
            return
        if not self._bad:
            self._batch = batch
        if not self._before:
            self._before = [each.detach().clone() for each in _buffers(pl_module)]
            self._norms = _balance(pl_module)

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        if self.limit and not self._bad:
            self._bad = not bool(loss.detach().isfinite().all())
            if self._bad:
                self._keep(trainer)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Decides: without gradients, an optimiser changes nothing."""
        if not self.limit:
            return
        parameters = trained_parameters(pl_module)
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        bad = self._bad or not (scaled or _finite([each.grad for each in parameters if each.grad is not None]))
        if not trainer.strategy.reduce_boolean_decision(bad, all=False):
            self.in_a_row = 0
        else:
            if bad and not self._bad:
                self._keep(trainer)
            self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
            for each in parameters:
                each.grad = None
            with torch.no_grad():
                for buffer, before in zip(_buffers(pl_module), self._before, strict=True):
                    buffer.copy_(before)
            if self._norms or _balance(pl_module):
                pl_module.balance.load_state_dict(self._norms)
        self._bad, self._before = False, []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs, and ends the run at the limit; before the callback that writes checkpoints, which comes last."""
        self._batch = None if not self._bad else self._batch
        if self.skipped:
            pl_module.log("train/skipped_steps", float(self.skipped))
        if self.limit and self.in_a_row >= self.limit:
            where = "" if self._folder is None else f"; batches of such steps are in {self._folder}"
            raise UserError(
                f"training stopped at step {trainer.global_step}: the loss or its gradient was NaN or infinite in each"
                f" of the last {self.in_a_row} steps, which were skipped{where}; go on from the last checkpoint with a"
                " lower model.optimizer.lr or with trainer.gradient_clip_val, or look for the mistake in the data"
            )

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on counting; the limit begins anew, as somebody has looked at it."""
        self.skipped = state_dict["skipped"]

    def _keep(self, trainer: L.Trainer) -> None:
        """Writes the batch of this rank, with the step and the numbers of its samples."""
        if self._folder is None or self.skipped >= _FILES:
            return
        rank = f"-rank{trainer.global_rank}" if trainer.world_size > 1 else ""
        file = self._folder / f"step-{trainer.global_step:06d}{rank}.safetensors"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, save(_tensors(self._batch), metadata={"step": str(trainer.global_step)}))
        except OSError as error:
            raise UserError(f"the batch of a bad step cannot be kept as {file}: {error.strerror or error}") from None


def _buffers(module: L.LightningModule) -> list[Tensor]:
    """All that a batch may write to while it passes through."""
    return [each for network in trained_networks(module) for each in network.buffers()]


def _balance(module: L.LightningModule) -> dict[str, Tensor]:
    """The averages that a balancer keeps outside the module's buffers."""
    balance = getattr(module, "balance", None)
    return {} if balance is None else balance.state_dict()


def _finite(gradients: list[Tensor]) -> bool:
    """Whether all are; a single wait for the device."""
    if not gradients:
        return True
    # A sum of squares may overflow where no gradient is infinite; the largest magnitude cannot.
    largest = torch._foreach_norm(gradients, float("inf"))
    return bool(torch.stack([each.float() for each in largest]).isfinite().all())


def _tensors(batch: Any, name: str = "") -> dict[str, Tensor]:
    """The tensors of a batch by dotted names, on the CPU and apart from one another."""
    if isinstance(batch, Tensor):
        return {name: batch.detach().cpu().contiguous().clone()}
    if isinstance(batch, Tokens):
        return _tensors(batch.values, f"{name}.values")
    items = batch.items() if isinstance(batch, Mapping) else ()
    parts = [_tensors(value, f"{name}.{key}".lstrip(".")) for key, value in items]
    return {key: value for part in parts for key, value in part.items()}
