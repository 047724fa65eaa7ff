"""A linear head for continuous tokens: what a denoiser predicts of each vector."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.base import Head, Law


class LinearHead(Head):
    """One vector a position: a velocity, the noise or the data, as the paradigm's noise process says (DiT, Peebles &
    Xie 2023, section 3.2). Zero at initialisation.

    Args:
        spec: of the tokens.
        dim: width of the backbone.
    """

    law: ClassVar[Law] = "regression"

    def __init__(self, spec: TokenSpec, dim: int) -> None:
        if spec.kind != "continuous":
            raise UserError(f"LinearHead is for continuous tokens, and these are {spec.kind}")
        super().__init__()
        self.project = nn.Linear(dim, spec.size)
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
