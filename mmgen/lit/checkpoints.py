"""The one checkpoint of a run, always complete and always called the same."""

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint


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
        """The endless stream is one epoch: this is the end of the training, and the weights are still those of training."""
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
