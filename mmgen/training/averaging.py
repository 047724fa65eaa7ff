"""Exponential moving average of the weights, which starts quick and becomes slow."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from mmgen.core.errors import UserError
from mmgen.training.sharded import FSDP, reshard


class EMA(WeightAveraging):
    """Lightning's weight averaging with a decay that warms up: min(decay, (1 + n) / (10 + n)) after n updates, so that
    short runs gain by it too. Validation, samples and the checkpoint's `state_dict` use the average; the weights that
    training goes on with are `current_model_state` in it.

    Args:
        decay: limit of the decay per optimiser step, in [0, 1); 0 keeps no average.
    """

    def __init__(self, decay: float = 0.0) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"ema.decay {decay} must lie in [0, 1)")
        self.decay = decay
        # Buffers (codebooks, counters) are copied: an average of integers or of a codebook's parts means nothing.
        super().__init__(use_buffers=False, avg_fn=self.update)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        # Lightning converts the module only later, and the average is to have the precision of training.
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise UserError("weights that are spread over devices are not averaged: use ddp, or set ema.decay to 0")
        trainer.precision_plugin.convert_module(pl_module)
        _require_32_bits(pl_module)
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # A run that begins to average where another has stopped has had no step of its own yet.
        self._latest_update_step = max(self._latest_update_step, trainer.global_step)

    def update(self, average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        """The average after one more update; `updates` went before."""
        warmed = (1 + updates) / (10 + updates)
        decay = warmed.clamp(max=self.decay) if isinstance(warmed, Tensor) else min(warmed, self.decay)
        weight = torch.as_tensor(1 - decay, dtype=average.dtype, device=average.device)
        return torch.lerp(average, current, weight)


def average_for(strategy: Strategy | str, ema: EMA) -> "EMA | ShardedEMA":
    """The average that goes with a strategy."""
    return ShardedEMA(ema) if isinstance(strategy, FSDP) else ema


class ShardedEMA(Callback):
    """As `EMA`, of which it takes the decay and its warm-up, for `FSDP`: no process ever sees a whole weight.

    Checkpoints hold what those of `EMA` hold, under the same names, so that either goes on from the other's.

    Args:
        ema: the average as the recipe says it.
    """

    def __init__(self, ema: EMA) -> None:
        self.ema, self._updates, self._latest = ema, 0, 0
        self._average: dict[str, Tensor] = {}  # this process's share of each parameter

    @property
    def state_key(self) -> str:
        """That of `EMA`."""
        return self.ema.state_key

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._latest = max(self._latest, trainer.global_step)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _require_32_bits(pl_module)
        self._average = {name: each.clone() for name, each in _shares(pl_module).items()}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._latest:
            return
        updates = torch.tensor(self._updates)
        for name, current in _shares(pl_module).items():
            average = self._average[name]
            average.copy_(self.ema.update(average, current, updates.to(average.device)) if self._updates else current)
        self._updates, self._latest = self._updates + 1, trainer.global_step

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._swap(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for name, current in _shares(pl_module).items():
            current.copy_(self._average[name])

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self._latest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._latest = state_dict["latest_update_step"]

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """The average becomes `state_dict`, the weights of training `current_model_state`."""
        current = checkpoint["state_dict"]
        checkpoint["current_model_state"] = current
        checkpoint["state_dict"] = {
            name: _like(each, self._average[name]) if name in self._average else each for name, each in current.items()
        }
        checkpoint["averaging_state"] = {"n_averaged": torch.tensor(self._updates)}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """The strategy has loaded the weights of training; a run without an average begins one from them."""
        stored = checkpoint["state_dict"]
        for name, average in self._average.items():
            average.copy_(_share(stored[name]))
        self._updates = int(checkpoint.get("averaging_state", {}).get("n_averaged", 0))

    def _swap(self, pl_module: L.LightningModule) -> None:
        for name, current in _shares(pl_module).items():
            weight = current.clone()
            current.copy_(self._average[name])
            self._average[name].copy_(weight)


def _shares(module: L.LightningModule) -> dict[str, Tensor]:
    """What this process holds of each parameter; writing to it changes the parameter."""
    reshard(module)
    return {name: _share(each) for name, each in module.named_parameters()}


def _share(each: Tensor) -> Tensor:
    return (each.to_local() if isinstance(each, DTensor) else each).detach()


def _like(each: Tensor, share: Tensor) -> Tensor:
    """A share as the tensor that it is a share of."""
    if not isinstance(each, DTensor):
        return share.clone()
    return DTensor.from_local(share.clone(), each.device_mesh, each.placements, shape=each.shape, stride=each.stride())


def _require_32_bits(module: L.LightningModule) -> None:
    if any(each.dtype.itemsize < 4 for each in module.parameters()):
        raise UserError("16 bits are too few for an average: use bf16-mixed, or set ema.decay to 0")
