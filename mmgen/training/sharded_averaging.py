"""The moving average of a model that is spread over devices: each keeps that of its own share."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import Strategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from mmgen.core.errors import UserError
from mmgen.training.averaging import EMA
from mmgen.training.sharded import FSDP, reshard


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

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins with the initial weights."""
        if any(each.dtype.itemsize < 4 for each in pl_module.parameters()):
            raise UserError("16 bits are too few for an average: use bf16-mixed, or set ema.decay to 0")
        self._average = {name: each.clone() for name, each in _shares(pl_module).items()}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Goes on after each optimiser step."""
        if trainer.global_step == self._latest:
            return
        updates = torch.tensor(self._updates)
        for name, current in _shares(pl_module).items():
            average = self._average[name]
            average.copy_(self.ema.update(average, current, updates.to(average.device)) if self._updates else current)
        self._updates, self._latest = self._updates + 1, trainer.global_step

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validates the average."""
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts the weights of training back."""
        self._swap(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The average is what training made."""
        for name, current in _shares(pl_module).items():
            current.copy_(self._average[name])

    def state_dict(self) -> dict[str, Any]:
        """As that of `EMA`."""
        return {"latest_update_step": self._latest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
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
            kept = current.clone()
            current.copy_(self._average[name])
            self._average[name].copy_(kept)


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
