"""Heads of continuous tokens: a regression, for denoisers, and a density, from which tokens can be drawn."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError, require
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.base import Head, Law, Sharpening, distribution, draw

_LEAST = 2.0**-54  # of a uniform number, so that its Gaussian is finite


class LinearHead(Head):
    """One vector a position: a velocity, the noise or the data, as the paradigm's noise process says (DiT, Peebles &
    Xie 2023, section 3.2). Zero at initialisation.

    Args:
        spec: of the tokens.
        dim: width of the backbone.
    """

    law: ClassVar[Law] = "regression"

    def __init__(self, spec: TokenSpec, dim: int) -> None:
        require(spec.kind == "continuous", f"LinearHead is for continuous tokens, and these are {spec.kind}")
        super().__init__()
        self.project = nn.Linear(dim, spec.size)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def predict(self, features: Tensor) -> Tensor:
        """features (..., dim) -> (..., size)."""
        return self.project(features)

    def errors(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error over channels, in float32 or wider: features (..., dim), targets (..., size) -> (...)."""
        predicted = self.predict(features)
        predicted = predicted.float() if predicted.dtype.itemsize < 4 else predicted
        return F.mse_loss(predicted, targets.to(predicted.dtype), reduction="none").mean(-1)


class GaussianMixtureHead(Head):
    """Weights, means and deviations of Gaussians with independent channels (GIVT, Tschannen et al. 2024, section 3.2).

    Likelihoods are of a density: its nats may be negative, and compare for the same tokens alone.

    Args:
        spec: of continuous tokens.
        dim: width of the backbone.
        components: Gaussians of the mixture.
        least: smallest standard deviation, which keeps the density bounded.
    """

    law: ClassVar[Law] = "density"

    def __init__(self, spec: TokenSpec, dim: int, components: int = 16, least: float = 1e-3) -> None:
        require(spec.kind == "continuous", f"GaussianMixtureHead is for continuous tokens, and these are {spec.kind}")
        fine = components >= 1 and least > 0
        require(fine, f"components {components} must be at least 1, and least {least:g} above 0")
        super().__init__()
        self.size, self.components, self.least, self.uniforms = spec.size, components, least, 1 + spec.size
        self.project = nn.Linear(dim, components * (1 + 2 * spec.size))
        nn.init.normal_(self.project.weight, std=0.02)
        nn.init.normal_(self.project.bias, std=0.5)  # means that differ, so that components do not learn the same

    def predict(self, features: Tensor) -> Tensor:
        """features (..., dim) -> (..., components, 1 + 2 size): logit of the weight, means, log-deviations."""
        return rearrange(self.project(features), "... (k p) -> ... k p", k=self.components)

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
        """Parameters of two mixtures cannot be mixed. Raises UserError."""
        raise UserError("guidance of a Gaussian mixture is not defined by its parameters: sample with --cfg 1")

    def nats(self, features: Tensor, targets: Tensor) -> Tensor:
        """-log density, in nats: features (..., dim), targets (..., size) -> (...). In float32 or wider."""
        predicted = self.predict(features)
        logits, mean, deviation = self._unpack(predicted.float() if predicted.dtype.itemsize < 4 else predicted)
        scaled = (targets.to(mean.dtype)[..., None, :] - mean) / deviation
        each = -0.5 * scaled.square() - deviation.log() - 0.5 * math.log(2 * math.pi)
        return -(logits.log_softmax(-1) + each.sum(-1)).logsumexp(-1)

    def draw(self, prediction: Tensor, rules: Sharpening, chance: Tensor) -> Tensor:
        """Tokens (..., size): parameters (..., components, 1 + 2 size), chance (..., 1 + size) in [0, 1). Temperature
        divides the logits of the weights and multiplies the deviations.
        """
        logits, mean, deviation = self._unpack(prediction)
        chosen = draw(distribution(logits, rules), chance[..., 0])[..., None, None]
        mean, deviation = (
            each.gather(-2, chosen.expand(*chosen.shape[:-1], self.size))[..., 0, :] for each in (mean, deviation)
        )
        return mean + rules.temperature * deviation * torch.special.ndtri(chance[..., 1:].clamp_min(_LEAST))

    def _unpack(self, predicted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, log_deviation = predicted.split([1, self.size, self.size], dim=-1)
        return logits[..., 0], mean, log_deviation.exp() + self.least
