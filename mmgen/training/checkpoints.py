"""The checkpoints of a run, the last and the best: always complete, and all that going on exactly needs."""

from math import inf
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from mmgen.store.checkpoint_file import BEST, best_record, read_checkpoint, write_checkpoint


class Checkpoints(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` in the run folder, every so many steps and at the end, and `checkpoints/best.ckpt`
    after each validation whose `val/loss` is the lowest so far.

    Each is written to another place and then moved, so that a run killed at any moment leaves a whole one, and sealed
    with a hash, so that damage is detected when it is read (`store.checkpoint_file`). The last one's predecessor stays
    too. A run that resumes reads from `best.ckpt` which loss it has to beat.

    On a step that is validated too, the last one is written after the validation: a run that goes on from it has not
    lost that validation, nor what callbacks made of it.

    Args:
        every_n_train_steps: optimizer steps between two checkpoints.
        best: write the best one; it takes as much room as the last.
    """

    def __init__(self, every_n_train_steps: int = 500, best: bool = True) -> None:
        super().__init__(filename="last", every_n_train_steps=every_n_train_steps, enable_version_counter=False)
        self.best = best
        self._lowest: dict[str, Any] | None = None

    def put_into(self, run: Path) -> None:
        """Choose the run folder."""
        self.dirpath = str((run / "checkpoints").absolute())

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Written again after the first of some accumulated batches, the checkpoint would lack that batch's gradient.
        super().on_train_start(trainer, pl_module)
        self._last_global_step_saved = trainer.global_step
        self._lowest = best_record(Path(self.dirpath) / BEST) if self.best and self.dirpath else None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Written between the accumulated batches of a step, it would lack their gradient.
        if not trainer.fit_loop.epoch_loop._should_accumulate() and not is_validated(trainer):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Here the weights of training are back in place of their average, which a checkpoint holds beside them.
        super().on_validation_end(trainer, pl_module)
        due = self._every_n_train_steps > 0 and trainer.global_step % self._every_n_train_steps == 0
        if due:
            self.save(trainer)
        loss = trainer.callback_metrics.get("val/loss")
        training = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not trainer.fast_dev_run
        if not self.best or not training or self.dirpath is None or loss is None:
            return
        lowest = inf if self._lowest is None else self._lowest["loss"]
        if loss.item() < lowest:  # never true of NaN
            self._lowest = {"step": trainer.global_step, "loss": loss.item()}
            trainer.save_checkpoint(Path(self.dirpath) / BEST)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._lowest is not None and self._lowest["step"] == trainer.global_step:
            checkpoint["best"] = dict(self._lowest)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it holds where the folder was, and a run folder may be moved."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing, likewise."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # The endless stream is one epoch: here training ends, and the weights are still those of training.
        self.save(trainer)

    def save(self, trainer: L.Trainer, again: bool = False) -> None:
        """Write the last one now, unless it is of this step already and is not to be written again."""
        self._last_global_step_saved = -1 if again else self._last_global_step_saved
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


def is_validated(trainer: L.Trainer) -> bool:
    """Whether a validation follows this batch."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


class SealedFiles(TorchCheckpointIO):
    """Lets Lightning write checkpoints as `mmgen.store.checkpoint_file` does."""

    def __init__(self) -> None:
        self._written: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        file = Path(path)
        write_checkpoint(checkpoint, file, trusted=file in self._written, keep_previous=file.name != BEST)
        self._written.add(file)

    def load_checkpoint(self, path: _PATH, *args: Any, **options: Any) -> dict[str, Any]:
        """A file, or a folder that several processes wrote, as one."""
        return read_checkpoint(Path(path))
