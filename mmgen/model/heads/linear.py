"""A linear head for continuous tokens: what a denoiser predicts of each vector."""

import torch.nn.functional as F
from torch import Tensor, nn


class LinearHead(nn.Module):
    """One vector a position: a velocity, the noise or the data, as the paradigm's noise process says (DiT, Peebles &
    Xie 2023, section 3.2). Zero at initialisation.

    Args:
        size: channels of a token.
        dim: width of the backbone.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, size)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def predict(self, features: Tensor) -> Tensor:
        """features (..., dim) -> (..., size)."""
        return self.project(features)

    def errors(self, features: Tensor, targets: Tensor) -> Tensor:
        """Squared error, the mean over channels: features (..., dim), targets (..., size) -> (...). In float32 or
        wider.
        """
        predicted = self.predict(features)
        predicted = predicted.float() if predicted.dtype.itemsize < 4 else predicted
        return F.mse_loss(predicted, targets.to(predicted.dtype), reduction="none").mean(-1)
