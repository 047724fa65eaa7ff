"""Torch's global random numbers in training, which are those of dropout: a pure function of seed, step and process."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


class StepSeed(Callback):
    """Seeds torch's generators anew at every batch, from the run's seed, the step, the number of the batch in it and
    the process.

    So dropout does not depend on what was drawn between two steps (by a validation, a preview, a loader that starts),
    and a run that goes on draws what it would have drawn without the break, with nothing to keep in its checkpoints.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        key = self.seed, trainer.global_step, batch_idx % trainer.accumulate_grad_batches, trainer.global_rank
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
