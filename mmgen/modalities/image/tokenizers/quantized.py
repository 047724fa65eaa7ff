"""An image tokenizer around a quantizer: all of it but the encoder and the decoder."""

from abc import abstractmethod

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokenizers.quantizers import Quantizer


class QuantizedImageTokenizer(Tokenizer):
    """Images (B, C, H, W) <-> a square grid of codes, in raster order.

    Args:
        quantizer: the bottleneck; residual ones give (B, N, Q) tokens.
        image_size: height and width in pixels.
        channels: of the image.
        side: height and width of the grid.
    """

    def __init__(self, quantizer: Quantizer, image_size: int, channels: int, side: int) -> None:
        super().__init__()
        self.sample_shape = (channels, image_size, image_size)
        self.spec = TokenSpec(
            quantizer.kind, quantizer.size, (1, side, side), levels=quantizer.levels, modality="image"
        )
        self.quantizer = quantizer

    @abstractmethod
    def to_latents(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, quantizer.inputs, side, side)."""

    @abstractmethod
    def to_pixels(self, codes: Tensor) -> Tensor:
        """codes (B, quantizer.dim, side, side), of the weights' type -> (B, C, H, W), not clamped."""

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        return self._tokens(self.quantizer.encode(self._latents(x)))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Tensor:
        indices = rearrange(self.check_tokens(tokens), "b (h w) ... -> b h w ...", h=self.spec.grid[1])
        return self._pixels(self.quantizer.lookup(indices)).clamp(-1, 1)

    def forward(self, x: Tensor) -> Reconstruction:
        quantized = self.quantizer(self._latents(x))
        return Reconstruction(self._pixels(quantized.values), self._tokens(quantized.indices), quantized.losses)

    def _latents(self, x: Tensor) -> Tensor:
        return rearrange(self.to_latents(self.check_samples(x)), "b c h w -> b h w c")

    def _pixels(self, codes: Tensor) -> Tensor:
        codes = codes.to(self.last_layer.dtype)
        return self.to_pixels(rearrange(codes, "b h w c -> b c h w").contiguous())

    def _tokens(self, indices: Tensor) -> Tokens:
        return Tokens(rearrange(indices, "b h w ... -> b (h w) ..."), self.spec.grid)
