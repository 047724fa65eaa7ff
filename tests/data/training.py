"""What the tests of data train with."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from mmgen.data.sources import Batch, Source, SplitName

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""Arguments of a Lightning trainer that neither prints nor writes."""


def everything(source: Source, split: SplitName = "train") -> Batch:
    """All samples of a split, as they are."""
    samples = source.samples(split)
    return samples.take(torch.arange(len(samples)))


def slots_of(batch: dict[str, Any]) -> list[tuple[int, int]]:
    """(epoch, number) of each sample of a batch."""
    return list(zip(batch["epoch"].tolist(), batch["sample"].tolist(), strict=True))


class Recorder(L.LightningModule):
    """Keeps every batch that it is trained on (`batches`) or validated with (`validated`).

    Args:
        kill_at: the number of the training batch that raises a KeyError.
    """

    def __init__(self, kill_at: int | None = None) -> None:
        super().__init__()
        self.weight, self.kill_at = torch.nn.Parameter(torch.zeros(())), kill_at
        self.batches: list[dict[str, Any]] = []
        self.validated: list[dict[str, Any]] = []

    @property
    def seen(self) -> list[list[tuple[int, int]]]:
        """The slots of every training batch."""
        return [slots_of(batch) for batch in self.batches]

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        if len(self.batches) == self.kill_at:
            raise KeyError("killed")
        self.batches.append(batch)
        return self.loss(batch)

    def loss(self, batch: dict[str, Any]) -> Tensor:
        return self.weight * 1.0

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        self.validated.append(batch)

    test_step = validation_step

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        return batch["sample"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def train(data: L.LightningDataModule, steps: int, **options: Any) -> Recorder:
    """A recorder that was trained for some steps."""
    module = Recorder()
    L.Trainer(max_steps=steps, **({"limit_val_batches": 0} | QUIET | options)).fit(module, data)
    return module


class SaveAfter(Callback):
    """Saves at the end of one training batch, wherever in an optimiser step that is."""

    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path = batch, path

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(pl_module.batches) == self.batch:
            trainer.save_checkpoint(self.path)
