"""Exponential moving average of the weights, which starts quick and becomes slow."""

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from mmgen.core.errors import UserError


class EMA(WeightAveraging):
    """Lightning's weight averaging with a decay that warms up: min(decay, (1 + n) / (10 + n)) after n updates.

    A fixed decay of 0.999 would keep a share of the initial weights for thousands of steps; warmed up, the average
    looks back over a tenth of the run at any time, so that short runs gain by it too. Validation, samples and the
    checkpoint's `state_dict` use the average; the weights that training goes on with are `current_model_state` in it.

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
        """Makes the average, in the precision that training will have: Lightning gives it to the module only later."""
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise UserError("weights that are spread over devices are not averaged: use ddp, or set ema.decay to 0")
        trainer.precision_plugin.convert_module(pl_module)
        if any(each.dtype.itemsize < 4 for each in pl_module.parameters()):
            raise UserError("16 bits are too few for an average: use bf16-mixed, or set ema.decay to 0")
        super().setup(trainer, pl_module, stage)

    def update(self, average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        """The average after one more update; `updates` went before."""
        warmed = (1 + updates) / (10 + updates)
        decay = warmed.clamp(max=self.decay) if isinstance(warmed, Tensor) else min(warmed, self.decay)
        weight = torch.as_tensor(1 - decay, dtype=average.dtype, device=average.device)
        return torch.lerp(average, current, weight)
