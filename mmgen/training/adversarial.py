"""The other side of adversarial training: a discriminator and its optimiser, beside the module and not in it."""

from typing import Any, Self

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.tokenizers import Tokenizer
from mmgen.tokenizers.losses import Adversarial, adaptive_weight, discriminator_loss, feature_matching, generator_loss
from mmgen.tokenizers.quantizers.base import sum_over_ranks, world
from mmgen.training.optim import FusedAdamW, WarmupCosine, scheduled
from mmgen.training.resume import OptimizerOptions, report_changes


class Adversary(Callback):
    """Trains a discriminator, a step right after each of the tokenizer's.

    The tokenizer's optimiser stays Lightning's, whose manual optimisation would give up accumulation, clipping,
    schedules and the count of steps; the discriminator's is stepped here with the same accumulation and clipping, each
    network by its own norm. Being no part of the module, the discriminator is neither averaged nor exported; its
    gradients are averaged over ranks here, and checkpoints hold it as the state of this callback.

    Args:
        settings: of adversarial training, with the discriminator.
        tokenizer: the other side.

    Raises:
        UserError: the discriminator does not take the tokenizer's samples, or has no features to match, or losses are
            to be balanced and the tokenizer has no last layer.
    """

    def __init__(self, settings: Adversarial, tokenizer: Tokenizer) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.net = settings.discriminator
        self._restored: dict[str, Any] = {}
        # Mistakes are reported here, and not at the step where the discriminator becomes active.
        with torch.no_grad():
            verdicts = self.net.verdicts(torch.zeros(1, *tokenizer.sample_shape))
            if settings.feature_matching:
                feature_matching(verdicts, verdicts)
        _ = tokenizer.last_layer if settings.adaptive else None

    @property
    def weights(self) -> dict[str, float]:
        """Of the losses that `losses` gives to the tokenizer, by name."""
        settings = self.settings
        matching = {"feature_matching": settings.feature_matching} if settings.feature_matching else {}
        return {"adversarial": settings.weight} | matching

    def active(self, trainer: L.Trainer) -> bool:
        return trainer.global_step >= self.settings.start

    def losses(self, made: Tensor, x: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
        """What the tokenizer minimises; adds the discriminator's gradients of this batch to its own.

        Args:
            made: (B, *sample_shape) reconstructions, with gradients.
            x: (B, *sample_shape) samples.
            reconstruction: the loss that the adversarial one is balanced against.

        Returns:
            `adversarial`, and `feature_matching` where it has a weight: weighted; to be logged, `adaptive_weight` and
            `discriminator`, its own loss.
        """
        settings = self.settings
        both = [each.halves() for each in self.net.verdicts(torch.cat([x, made.detach().to(x.dtype)]))]
        loss = torch.stack([discriminator_loss(real.logits, fake.logits, settings.loss) for real, fake in both]).mean()
        with torch.autocast(x.device.type, enabled=False):
            (loss / self._accumulate).backward()

        self.net.requires_grad_(False)  # a constant of the tokenizer's loss
        verdicts = self.net.verdicts(made)
        self.net.requires_grad_(True)
        adversarial = torch.stack([generator_loss(each.logits, settings.loss) for each in verdicts]).mean()
        weight = torch.ones_like(adversarial)
        if settings.adaptive:
            weight = adaptive_weight(reconstruction, adversarial, self.tokenizer.last_layer)
        losses = {"adversarial": settings.weight * weight * adversarial}
        if settings.feature_matching:
            matched = feature_matching([real for real, _ in both], verdicts)
            losses["feature_matching"] = settings.feature_matching * matched
        return losses | {"adaptive_weight": weight, "discriminator": loss.detach()}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuses what the discriminator's gradients are not made for."""
        if stage != "fit":
            return
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise UserError("adversarial training keeps a whole tokenizer on each device: use ddp")
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            raise UserError("adversarial training does not scale losses, as 16-mixed needs it: use bf16-mixed")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Follows the module to its device and type, makes the optimiser and restores both."""
        self.net.to(device=pl_module.device, dtype=next(pl_module.parameters()).dtype).train()
        self._accumulate = trainer.accumulate_grad_batches
        steps, settings = max(1, trainer.max_steps - self.settings.start), self.settings
        self._optimizer, self._schedule = scheduled(
            self.net,
            steps,
            lambda params: FusedAdamW(params, settings.lr, 0.0, settings.betas),
            lambda optimizer: WarmupCosine(optimizer, settings.warmup_steps),
        )
        self._options = OptimizerOptions.of(self._optimizer, self._schedule)
        if self._restored:
            self._restore(trainer)
        if world()[1] > 1:
            for value in self.net.state_dict().values():
                dist.broadcast(value, 0)

    def _restore(self, trainer: L.Trainer) -> None:
        restored, self._restored = self._restored, {}
        changes = self._options.changes(restored["options"])
        self.net.load_state_dict(restored["discriminator"])
        self._optimizer.load_state_dict(restored["optimizer"])
        if changes:
            self._options.act(self._optimizer, self._schedule, restored["schedule"]["last_epoch"])
        else:
            self._schedule.load_state_dict(restored["schedule"])
        report_changes(trainer, changes, " of the discriminator")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Steps once all accumulated batches are in; callbacks that save come after all others."""
        gradients = [each.grad for each in self.net.parameters() if each.grad is not None]
        if not gradients or trainer.fit_loop.epoch_loop._should_accumulate():
            return
        for gradient in gradients:
            gradient.copy_(sum_over_ranks(gradient) / world()[1])
        pl_module.clip_gradients(self._optimizer)  # as the trainer is told to
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {
            "discriminator": self.net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "options": self._options.values,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training begins."""
        self._restored = dict(state_dict)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Itself: the average of the tokenizer's weights needs no discriminator of its own."""
        return self
