"""Training of a tokenizer by reconstruction."""

import math
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from mmgen.lit.optim import adamw
from mmgen.tokenizers import Tokenizer


class TokenizerModule(L.LightningModule):
    """Trains a `Tokenizer` on absolute and squared error, and on what its quantizer asks for.

    Args:
        tokenizer: encoder, quantizer and decoder.
        l1: weight of the mean absolute error.
        l2: weight of the mean squared error.
        lr: highest learning rate, after the warm-up; from there it falls along a cosine to 0 at trainer.max_steps.
        weight_decay: of linear maps and convolutions.
        betas: of Adam.
        warmup_steps: optimiser steps on which the learning rate climbs from 0; at most half of the run.
    """

    work_unit = "samples"

    def __init__(
        self,
        tokenizer: Tokenizer,
        l1: float = 1.0,
        l2: float = 1.0,
        lr: float = 2e-3,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.98),
        warmup_steps: int = 50,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.l1, self.l2 = l1, l2
        self.lr, self.weight_decay, self.betas, self.warmup_steps = lr, weight_decay, betas, warmup_steps

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Weighted sum of the errors and of the quantizer's losses."""
        parts, _ = self._losses(batch["x"])
        loss = torch.stack(list(parts.values())).sum()
        self.log_dict({f"train/{name}": each.detach() for name, each in parts.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """The same losses, and the mean over images of their peak signal-to-noise ratio."""
        self._measure("val", batch)

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        """As validation."""
        self._measure("test", batch)

    def _losses(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        made = self.tokenizer(x)
        errors = {"l1": self.l1 * (made.x - x).abs().mean(), "l2": self.l2 * (made.x - x).square().mean()}
        return errors | made.losses, made.x

    def _measure(self, stage: str, batch: dict[str, Any]) -> None:
        parts, made = self._losses(batch["x"])
        figures = parts | {"loss": torch.stack(list(parts.values())).sum(), "psnr_db": psnr_db(made, batch["x"]).mean()}
        named = {f"{stage}/{name}": each for name, each in figures.items()}
        self.log_dict(named, batch_size=len(made), sync_dist=True, prog_bar=False)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine."""
        return adamw(self, self.trainer.max_steps, self.lr, self.weight_decay, self.betas, self.warmup_steps)

    def work(self, batch: dict[str, Any]) -> int:
        """Samples in a batch."""
        return len(batch["x"])


def psnr_db(made: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) of reconstructions (B, ...), clamped to x's range [-1, 1]; 100 dB at most."""
    mse = (made.float().clamp(-1, 1) - x.float()).square().flatten(1).mean(1)
    return 10 * (math.log10(4) - mse.clamp_min(4e-10).log10())
