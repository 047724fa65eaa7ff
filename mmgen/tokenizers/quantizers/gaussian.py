"""The Gaussian bottleneck: continuous latents, smoothed by noise in the place of rounding."""

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers.base import Quantized, Quantizer, place_among_ranks, sum_over_ranks

_LOG_VARIANCE = (-30.0, 20.0)  # as diffusers' DiagonalGaussianDistribution clamps it
_SMALLEST_STD = 1e-3  # a channel that the encoder leaves unused is not blown up to noise
_MEMORY = 100  # batches over which the latents' moments are averaged


class Gaussian(Quantizer):
    """The bottleneck of a KL autoencoder (Kingma and Welling 2014; Rombach et al. 2022, section 3.1).

    What goes in is a posterior, the mean and the logarithm of the variance of each number: `inputs` = 2 `dim`. Training
    lets a sample of it through, N(mean, variance); evaluation mode its mean. The `indices`, (..., dim) float, are the
    mean shifted and scaled by mean and standard deviation over the training data, a channel at a time, so that noise of
    unit variance means the same for each; `lookup` undoes it. Both are moving averages over the last 100 training
    batches and all ranks, kept with the weights.

    The noise is keyed by the number of batches so far and by the row of the global batch.

    Loss `kl`: `kl_weight` x divergence of the posterior from N(0, 1), in nats, mean per latent number. In [0, inf).
    Rises quickly while the decoder learns to use the latents, then settles; if it stays at 0, lower kl_weight. Weights
    of the literature count sums over a sample's latents and pixels: multiply those by latent numbers / pixels.

    Args:
        dim: numbers a token.
        kl_weight: of the divergence; more makes latents smoother and reconstructions blurrier.
    """

    kind = "continuous"

    def __init__(self, dim: int, kl_weight: float = 1e-3) -> None:
        super().__init__()
        if dim < 1 or kl_weight < 0:
            raise UserError(
                f"a Gaussian bottleneck needs at least 1 number a token and kl_weight >= 0; got {dim}, {kl_weight}"
            )
        self.dim = self.size = dim
        self.kl_weight = kl_weight
        self.mean: Tensor
        self.square: Tensor
        self.batches: Tensor
        self.register_buffer("mean", torch.zeros(dim))  # of the latents
        self.register_buffer("square", torch.ones(dim))  # mean of their squares
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))  # seen in training; keys the noise

    @property
    def inputs(self) -> int:
        return 2 * self.dim

    @property
    def std(self) -> Tensor:
        """(dim,) standard deviation of the latents over the training data."""
        return (self.square - self.mean.square()).clamp_min(_SMALLEST_STD**2).sqrt()

    def quantize(self, z: Tensor) -> Quantized:
        mean, log_variance = _posterior(z)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        values = mean
        if self.training:
            self._follow(mean.detach())
            values = mean + (log_variance / 2).exp() * self._noise(mean)
        return Quantized(values, self._scaled(mean.detach()), {"kl": self.kl_weight * divergence})

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            return self._scaled(_posterior(self.check_vectors(z))[0])

    def lookup(self, indices: Tensor) -> Tensor:
        if not indices.is_floating_point() or indices.shape[-1] != self.dim:
            raise UserError(
                f"Gaussian looks up vectors of {self.dim} floats, got {indices.dtype} of shape {tuple(indices.shape)}"
            )
        return indices.to(self.mean.dtype) * self.std + self.mean

    def _scaled(self, mean: Tensor) -> Tensor:
        return (mean - self.mean) / self.std

    def _noise(self, like: Tensor) -> Tensor:
        """Standard normal numbers for this batch (counted already), the same wherever its rows are computed. A
        collective call.
        """
        samples = len(like) if like.dim() > 1 else 1
        start, _ = place_among_ranks(samples, like.device)
        rows = start + torch.arange(samples, device=like.device)
        noise = Draws(0, rows, self.batches).normal("posterior", *like.shape[like.dim() > 1 :])
        return noise.view(like.shape).to(like.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor) -> None:
        """Moves the moments towards those of the global batch; over the first batches they are plain averages."""
        flat = rearrange(mean, "... dim -> (...) dim")
        sums = torch.stack([flat.sum(0), flat.square().sum(0), torch.full_like(flat[0], len(flat))])
        sums = sum_over_ranks(sums)
        self.batches += 1
        weight = 1 / self.batches.clamp_max(_MEMORY)
        self.mean.lerp_((sums[0] / sums[2]).to(self.mean.dtype), weight.to(self.mean.dtype))
        self.square.lerp_((sums[1] / sums[2]).to(self.square.dtype), weight.to(self.square.dtype))


def _posterior(z: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2 dim) -> mean and logarithm of the variance, (..., dim) each."""
    mean, log_variance = z.chunk(2, dim=-1)
    return mean, log_variance.clamp(*_LOG_VARIANCE)
