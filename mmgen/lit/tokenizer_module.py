"""Training of a tokenizer by reconstruction."""

import math
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mmgen.lit.adversarial import Adversary
from mmgen.lit.optim import adamw
from mmgen.losses import Adversarial, Perceptual
from mmgen.tokenizers import Tokenizer


class TokenizerModule(L.LightningModule):
    """Trains a `Tokenizer` on absolute and squared error, and on what its bottleneck asks for; also on how its
    reconstructions look to a frozen network, and on how real they look to a discriminator, where the recipe names them.

    Args:
        tokenizer: encoder, quantizer and decoder.
        l1: weight of the mean absolute error.
        l2: weight of the mean squared error.
        lr: highest learning rate, after the warm-up; from there it falls along a cosine to 0 at trainer.max_steps.
        weight_decay: of linear maps and convolutions.
        betas: of Adam.
        warmup_steps: optimiser steps on which the learning rate climbs from 0; at most half of the run.
        perceptual: another error of the reconstruction, in a frozen network's features.
        adversarial: the discriminator and its settings.

    Raises:
        UserError: a discriminator that does not take the tokenizer's samples, or a tokenizer that it cannot train.
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
        perceptual: Perceptual | None = None,
        adversarial: Adversarial | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.l1, self.l2 = l1, l2
        self.lr, self.weight_decay, self.betas, self.warmup_steps = lr, weight_decay, betas, warmup_steps
        self.perceptual = perceptual
        self.adversary = None if adversarial is None else Adversary(adversarial, tokenizer, warmup_steps)

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Weighted sum of the errors, of the bottleneck's losses and of the adversarial one."""
        x = batch["x"]
        errors, bottleneck, made = self._losses(x)
        parts, seen = errors | bottleneck, {}
        if self.adversary is not None and self.adversary.active(self.trainer):
            seen = self.adversary.losses(made, x, torch.stack(list(errors.values())).sum())
            parts["adversarial"] = seen["adversarial"]
        loss = torch.stack(list(parts.values())).sum()
        self.log_dict({f"train/{name}": each.detach() for name, each in (seen | parts).items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """The same losses, and the mean over images of their peak signal-to-noise ratio."""
        self._measure("val", batch)

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        """As validation."""
        self._measure("test", batch)

    def _losses(self, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Errors of the reconstruction, losses of the bottleneck, and the reconstruction."""
        made = self.tokenizer(x)
        errors = {"l1": self.l1 * (made.x - x).abs().mean(), "l2": self.l2 * (made.x - x).square().mean()}
        if self.perceptual is not None:
            errors["perceptual"] = self.perceptual(made.x, x)
        return errors, made.losses, made.x

    def _measure(self, stage: str, batch: dict[str, Any]) -> None:
        errors, bottleneck, made = self._losses(batch["x"])
        parts = errors | bottleneck
        figures = parts | {"loss": torch.stack(list(parts.values())).sum(), "psnr_db": psnr_db(made, batch["x"]).mean()}
        named = {f"{stage}/{name}": each for name, each in figures.items()}
        self.log_dict(named, batch_size=len(made), sync_dist=True, prog_bar=False)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine."""
        return adamw(self, self.trainer.max_steps, self.lr, self.weight_decay, self.betas, self.warmup_steps)

    def configure_callbacks(self) -> list[Callback]:
        """What trains the discriminator."""
        return [] if self.adversary is None else [self.adversary]

    @property
    def beside(self) -> dict[str, tuple[nn.Module, str | None]]:
        """Networks that training takes and that are no part of the tokenizer, each with the source of its weights, if
        that is not the run's.
        """
        found: dict[str, tuple[nn.Module, str | None]] = {}
        if self.perceptual is not None:
            found["perceptual"] = (self.perceptual.net, self.perceptual.source)
        if self.adversary is not None:
            found["discriminator"] = (self.adversary.net, None)
        return found

    def work(self, batch: dict[str, Any]) -> int:
        """Samples in a batch."""
        return len(batch["x"])


def psnr_db(made: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) of reconstructions (B, ...), clamped to x's range [-1, 1]; 100 dB at most."""
    mse = (made.float().clamp(-1, 1) - x.float()).square().flatten(1).mean(1)
    return 10 * (math.log10(4) - mse.clamp_min(4e-10).log10())
