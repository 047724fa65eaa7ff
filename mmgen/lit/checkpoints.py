"""The one checkpoint of a run: always complete, always called the same, and all that going on exactly needs."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor


class Checkpoints(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt` in the run folder: every so many steps, and at the end.

    It is written to another place and then moved, so that a run killed at any moment leaves a whole one.

    Args:
        every_n_train_steps: optimiser steps between two checkpoints.
    """

    def __init__(self, every_n_train_steps: int = 500) -> None:
        super().__init__(filename="last", every_n_train_steps=every_n_train_steps, enable_version_counter=False)

    def put_into(self, run: Path) -> None:
        """Choose the run folder."""
        self.dirpath = str((run / "checkpoints").absolute())

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The endless stream is one epoch: here training ends, and the weights are still those of training."""
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


class RandomState(Callback):
    """Keeps torch's global random state with the checkpoint.

    Data and paradigms draw by sample number and need none of it; dropout inside a backbone does.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """States by device: of the CPU, and of the current GPU."""
        cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
        return {"cpu": torch.get_rng_state(), **cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until the first batch, since setting up the loaders draws too."""
        self._restored = dict(state_dict)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Puts the state back, once."""
        if "cpu" in self._restored:
            torch.set_rng_state(self._restored["cpu"].cpu())
        if "cuda" in self._restored and torch.cuda.is_available():
            torch.cuda.set_rng_state(self._restored["cuda"].cpu())
        self._restored = {}
