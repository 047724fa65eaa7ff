"""Losses that share the gradient of the reconstruction by their weights, whatever their scales."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers.base import sum_over_ranks, world

_SMALLEST = 1e-12  # norm that others are divided by


@dataclass(frozen=True)
class Balancer:
    """Weights become shares (EnCodec, Defossez et al. 2022, section 3.4): with weights 1 and 3, one loss makes a
    quarter of the reconstruction's gradient, the other three quarters, however large their values and gradients are.

    Every loss of the reconstruction takes part, the adversarial one too; a loss whose weight is 0 has no share. What
    the bottleneck asks for comes on top, with its own weights.

    Args:
        decay: of the moving average of each loss's norm, per batch; 1 / (1 - decay) batches is its memory.
        norm: of the gradient of all losses together, for one sample, if they agreed. More of it makes the bottleneck's
            losses count less.

    Raises:
        UserError: a decay outside [0, 1), or a norm that is not above 0.
    """

    decay: float = 0.999
    norm: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1 or not self.norm > 0:
            raise UserError(f"balancer decay must lie in [0, 1) and norm above 0, got {self.decay:g} and {self.norm:g}")


class Balance:
    """A balancer at work: it holds the moving averages, whose first value is the first batch's own.

    A loss's norm is that of the gradient of one sample's loss with respect to its reconstruction, averaged over the
    batch and over ranks. Accumulated batches are measured one by one.
    """

    def __init__(self, settings: Balancer) -> None:
        self.settings = settings
        self._sums: dict[str, Tensor] = {}  # (2,): decayed sums of norms, and of ones

    def __call__(
        self, losses: dict[str, Tensor], weights: dict[str, float], reconstruction: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Measures the losses and balances them. A collective call.

        Args:
            losses: weighted scalars by name, means over the batch.
            weights: of all of these, and maybe others.
            reconstruction: (B, ...) reconstructions, with gradients.

        Returns:
            A scalar whose gradient with respect to the reconstruction is norm x the sum of share x gradient / average
            norm, and whose value means nothing; and each loss's average norm, without its weight, to be logged.
        """
        names = [name for name in losses if weights[name] > 0]
        if not names:
            return 0 * reconstruction.sum(), {}
        gradients = {name: _gradient(losses[name], reconstruction) / weights[name] for name in names}
        norms = torch.stack([len(reconstruction) * each.flatten(1).norm(dim=1).mean() for each in gradients.values()])
        norms = sum_over_ranks(norms) / world()[1]
        averages = {name: self._average(name, norm) for name, norm in zip(names, norms)}
        total = sum(weights[name] for name in names)
        balanced = torch.stack(
            [weights[name] / total * gradients[name] / averages[name].clamp_min(_SMALLEST) for name in names]
        ).sum(0)
        return (reconstruction * (self.settings.norm * balanced).to(reconstruction.dtype)).sum(), averages

    def _average(self, name: str, norm: Tensor) -> Tensor:
        now = torch.stack([norm, torch.ones_like(norm)])
        before = self._sums.get(name, torch.zeros_like(now)).to(now)
        self._sums[name] = torch.lerp(now, before, self.settings.decay)
        sums = self._sums[name]
        return sums[0] / sums[1]

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._sums)

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        self._sums = dict(state_dict)


def _gradient(loss: Tensor, reconstruction: Tensor) -> Tensor:
    """Of a loss, with respect to reconstructions; in at least float32. The graph stays."""
    with torch.autocast(reconstruction.device.type, enabled=False):  # types are those of the forward pass
        (gradient,) = torch.autograd.grad(loss, reconstruction, retain_graph=True)
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32))
