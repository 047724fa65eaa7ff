"""A small KL autoencoder for images: continuous tokens, quick on a CPU."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.draws import Draws
from mmgen.errors import UserError
from mmgen.quantizers.base import place_among_ranks, sum_over_ranks
from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokenizers.conv import check_sizes, conv_decoder, conv_encoder, last_weight
from mmgen.tokens import Tokens, TokenSpec

_LOG_VARIANCE = (-30.0, 20.0)  # as diffusers' DiagonalGaussianDistribution clamps it
_SMALLEST_STD = 1e-3  # a channel that the encoder leaves unused is not blown up to noise
_MEMORY = 100  # batches over which the latents' moments are averaged


class KLImageTokenizer(Tokenizer):
    """Convolutional autoencoder with a Gaussian bottleneck (Kingma and Welling 2014; Rombach et al. 2022, section 3.1).

    Training decodes a sample of the posterior, N(mean(x), variance(x)); `encode`, and `forward` in evaluation mode, use
    its mean. Tokens are the latents shifted and scaled by their mean and standard deviation over the training images, a
    channel at a time, so that noise of unit variance means the same for each; `decode` undoes it. Both are moving
    averages over the last 100 training batches and all ranks, kept with the weights.

    The noise of a training step is keyed by the number of batches so far, kept with the weights too, and by the row of
    the global batch: a resumed run goes on exactly, and ranks draw what one process would draw for the whole batch.

    Loss `kl`: `kl_weight` x divergence of the posterior from N(0, 1), in nats, mean per latent number. In [0, inf).
    Begins near 0, where the posterior says nothing; rises quickly while the decoder learns to use the latents, then
    settles. If it stays at 0 nothing gets through (lower kl_weight). Weights of the literature count the sum over the
    latents of an image against the sum over its pixels: multiply those by latent numbers / pixels.

    Args:
        image_size: height and width in pixels, divisible by the total downsampling.
        channels: of the image, 1 or 3 as a rule.
        latent_channels: numbers a token.
        width: channels of the convolutions.
        downsample: pixels a token in each direction, as for ConvImageTokenizer.
        blocks: residual blocks per resolution, in the encoder and again in the decoder.
        kl_weight: of the divergence; more makes latents smoother and images blurrier.
    """

    def __init__(
        self,
        image_size: int = 28,
        channels: int = 1,
        latent_channels: int = 4,
        width: int = 64,
        downsample: int | list[int] = 4,
        blocks: int = 1,
        kl_weight: float = 1e-3,
    ) -> None:
        super().__init__()
        strides = check_sizes(image_size, channels, width, downsample, blocks)
        if latent_channels < 1 or kl_weight < 0:
            raise UserError(
                f"latent_channels must be at least 1 and kl_weight at least 0; got {latent_channels}, {kl_weight}"
            )
        side = image_size // math.prod(strides)
        self.sample_shape = (channels, image_size, image_size)
        self.spec = TokenSpec("continuous", latent_channels, (1, side, side))
        self.kl_weight = kl_weight
        self.encoder = conv_encoder(channels, width, strides, blocks, 2 * latent_channels)
        self.decoder = conv_decoder(channels, width, strides, blocks, latent_channels)
        self.mean: Tensor
        self.square: Tensor
        self.batches: Tensor
        self.register_buffer("mean", torch.zeros(latent_channels))  # of the latents
        self.register_buffer("square", torch.ones(latent_channels))  # mean of their squares
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))  # seen in training; keys the noise

    @property
    def last_layer(self) -> nn.Parameter:
        return last_weight(self.decoder)

    @property
    def std(self) -> Tensor:
        """(C,) standard deviation of the latents over the training images."""
        return (self.square - self.mean.square()).clamp_min(_SMALLEST_STD**2).sqrt()

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        return self._tokens(self._posterior(x)[0])

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Tensor:
        values = self.check_tokens(tokens).to(self.mean.dtype)
        latents = rearrange(values * self.std + self.mean, "b (h w) c -> b h w c", h=self.spec.grid[1])
        return self._pixels(latents).clamp(-1, 1)

    def forward(self, x: Tensor) -> Reconstruction:
        mean, log_variance = self._posterior(x)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        latents = mean
        if self.training:
            self._follow(mean.detach())
            latents = mean + (log_variance / 2).exp() * self._noise(mean)
        return Reconstruction(self._pixels(latents), self._tokens(mean.detach()), {"kl": self.kl_weight * divergence})

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance, (B, h, w, C) each, at least float32."""
        out = rearrange(self.encoder(self.check_samples(x)), "b c h w -> b h w c")
        out = out.to(torch.promote_types(out.dtype, torch.float32))
        if not out.isfinite().all():  # one such batch would spoil the moments for good
            raise UserError(
                "KLImageTokenizer got NaN or infinity: the encoder has diverged, lower lr or clip its gradient"
            )
        mean, log_variance = out.chunk(2, dim=-1)
        return mean, log_variance.clamp(*_LOG_VARIANCE)

    def _pixels(self, latents: Tensor) -> Tensor:
        latents = latents.to(self.last_layer.dtype)
        return self.decoder(rearrange(latents, "b h w c -> b c h w").contiguous())

    def _tokens(self, mean: Tensor) -> Tokens:
        values = (mean - self.mean) / self.std
        return Tokens(rearrange(values.float(), "b h w c -> b (h w) c"), self.spec.grid)

    def _noise(self, like: Tensor) -> Tensor:
        """Standard normal numbers for this batch (counted already), the same wherever its rows are computed. A
        collective call.
        """
        start, _ = place_among_ranks(len(like), like.device)
        rows = start + torch.arange(len(like), device=like.device)
        return Draws(0, rows, self.batches).normal("posterior", *like.shape[1:]).to(like.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor) -> None:
        """Moves the moments towards those of the global batch; over the first batches they are plain averages."""
        flat = rearrange(mean, "b h w c -> (b h w) c")
        sums = torch.stack([flat.sum(0), flat.square().sum(0), torch.full_like(flat[0], len(flat))])
        sums = sum_over_ranks(sums)
        self.batches += 1
        weight = 1 / self.batches.clamp_max(_MEMORY)
        self.mean.lerp_((sums[0] / sums[2]).to(self.mean.dtype), weight.to(self.mean.dtype))
        self.square.lerp_((sums[1] / sums[2]).to(self.square.dtype), weight.to(self.square.dtype))
