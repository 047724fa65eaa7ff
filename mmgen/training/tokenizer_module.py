"""Training of a tokenizer by reconstruction."""

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.modality import find_modality
from mmgen.data import DataModule
from mmgen.tokenizers import Reconstruction, Tokenizer
from mmgen.tokenizers.code_usage import code_figures
from mmgen.tokenizers.losses import Adversarial, Balance, Balancer, Perceptual, Spectral
from mmgen.training.adversarial import Adversary
from mmgen.training.optim import FusedAdamW, OptimizerFactory, SchedulerFactory, TrainedModule, WarmupCosine


class TokenizerModule(TrainedModule):
    """Trains a `Tokenizer` on absolute and squared error, on its bottleneck's losses, and on perceptual, spectral and
    adversarial losses where the recipe names them. What fills up a sample to its length counts in all losses, but not
    in the metrics of a modality.

    Args:
        tokenizer: encoder, quantizer and decoder.
        l1: weight of the mean absolute error.
        l2: weight of the mean squared error.
        optimizer: a class of torch.optim, or of `mmgen.training`, and its arguments; parameters that should not decay
            are never decayed.
        lr_scheduler: a class of torch.optim.lr_scheduler, or of `mmgen.training`, and its arguments; stepped with the
            optimizer.
        perceptual: error in a frozen network's features.
        adversarial: the discriminator and its settings.
        spectral: error of a sound in its spectra.
        balancer: makes the weights of all losses of the reconstruction, l1 to adversarial, shares of its gradient.

    Raises:
        UserError: a discriminator that does not take the tokenizer's samples, or a tokenizer that it cannot train; a
            spectral loss of anything but its sounds; gradients that are to be balanced twice.
    """

    work_unit = "samples"

    def __init__(
        self,
        tokenizer: Tokenizer,
        l1: float = 1.0,
        l2: float = 1.0,
        optimizer: OptimizerFactory = lambda params: FusedAdamW(params, lr=2e-3, weight_decay=0.01),
        lr_scheduler: SchedulerFactory = lambda optimizer: WarmupCosine(optimizer, warmup_steps=50),
        perceptual: Perceptual | None = None,
        adversarial: Adversarial | None = None,
        spectral: Spectral | None = None,
        balancer: Balancer | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.l1, self.l2 = l1, l2
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.perceptual = perceptual
        self.adversary = None if adversarial is None else Adversary(adversarial, tokenizer)
        self.spectral = spectral
        self.balance = None if balancer is None else Balance(balancer)
        if spectral is not None:
            _check_sounds(tokenizer, spectral)
        if balancer is not None and adversarial is not None and adversarial.adaptive:
            raise UserError("the balancer balances the adversarial loss too: set adversarial.adaptive to false")

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the losses of the reconstruction, by name."""
        weights = {"l1": self.l1, "l2": self.l2}
        if self.perceptual is not None:
            weights["perceptual"] = self.perceptual.weight
        if self.spectral is not None:
            weights |= self.spectral.weights
        if self.adversary is not None:
            weights |= self.adversary.weights
        return weights

    def on_fit_start(self) -> None:
        """Lets the tokenizer adapt to the data, unless a checkpoint says how it did."""
        data = self.trainer.datamodule
        if isinstance(data, DataModule):
            self.tokenizer.adapt(data.source)

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Weighted sum of all losses; with a balancer, a scalar that has the balanced gradient."""
        errors, made, target = self._losses(batch["x"])
        parts, adversarial = dict(errors), {}
        if self.adversary is not None and self.adversary.active(self.trainer):
            adversarial = self.adversary.losses(made.x, target, torch.stack(list(errors.values())).sum())
            parts |= {name: loss for name, loss in adversarial.items() if name in self.weights}
        loss = torch.stack([*parts.values(), *made.losses.values()]).sum()
        self.log_dict({f"train/{name}": each.detach() for name, each in (adversarial | parts | made.losses).items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        if self.tokenizer.spec.kind != "continuous":
            figures = code_figures(made.tokens.values, self.tokenizer.spec)
            self.log_dict({f"train/{name}": value for name, value in figures.items()})
        if self.balance is None:
            return loss
        balanced, norms = self.balance(parts, self.weights, made.x)
        self.log_dict({f"train/norm_{name}": norm for name, norm in norms.items()})
        return torch.stack([balanced, *made.losses.values()]).sum()

    def _losses(self, x: Tensor) -> tuple[dict[str, Tensor], Reconstruction, Tensor]:
        """Errors of the reconstruction, the reconstruction, and what it should be: x, or what is made of it."""
        made = self.tokenizer(x)
        target = x if made.target is None else made.target
        errors = {"l1": self.l1 * (made.x - target).abs().mean(), "l2": self.l2 * (made.x - target).square().mean()}
        if self.perceptual is not None:
            errors["perceptual"] = self.perceptual(made.x, target)
        if self.spectral is not None:
            errors |= self.spectral(made.x, target)
        return errors, made, target

    def measure(self, stage: str, batch: dict[str, Any]) -> None:
        """The same losses without the adversarial ones, and the modality's metrics of reconstructions."""
        errors, made, target = self._losses(batch["x"])
        parts = errors | made.losses
        figures = parts | {"loss": torch.stack(list(parts.values())).sum()}
        modality = find_modality(self.tokenizer.spec.modality)
        if modality is not None:
            figures |= modality.reconstruction_metrics(self.tokenizer, made.x, target, batch)
        named = {f"{stage}/{name}": each for name, each in figures.items()}
        self.log_dict(named, batch_size=len(target), sync_dist=True, prog_bar=False)

    def configure_callbacks(self) -> list[Callback]:
        return [] if self.adversary is None else [self.adversary]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.balance is not None:
            checkpoint["balance"] = self.balance.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.balance is not None:
            self.balance.load_state_dict(checkpoint.get("balance", {}))

    @property
    def auxiliary_networks(self) -> dict[str, tuple[nn.Module, str | None]]:
        """Networks beside the tokenizer, each with the source of its weights, if that is not the run's."""
        networks: dict[str, tuple[nn.Module, str | None]] = {}
        if self.perceptual is not None:
            networks["perceptual"] = (self.perceptual.net, self.perceptual.source)
        if self.adversary is not None:
            networks["discriminator"] = (self.adversary.net, None)
        return networks

    def work(self, batch: dict[str, Any]) -> int:
        """Samples in a batch."""
        return len(batch["x"])


def _check_sounds(tokenizer: Tokenizer, spectral: Spectral) -> None:
    rate = getattr(tokenizer, "sample_rate", None)
    if rate is None:
        kind = type(tokenizer).__name__
        raise UserError(f"spectral losses are of sounds, but {kind} codes samples of {tokenizer.sample_shape}")
    if rate != spectral.sample_rate:
        raise UserError(
            f"spectral losses at {spectral.sample_rate} Hz cannot judge a tokenizer of sounds at {rate} Hz: set"
            " spectral.sample_rate"
        )
