"""Patch transformer tokenizer (BSQ-ViT) for images and video: the shared backbone around a quantizer."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.backbone import Transformer
from mmgen.backbone.modulation import AdaLN
from mmgen.errors import UserError
from mmgen.layout import Layout, grid_layout
from mmgen.masks import block_causal
from mmgen.quantizers import Quantizer
from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokens import Grid, Tokens, TokenSpec


class ViTTokenizer(Tokenizer):
    """Transformer encoder and decoder over square patches, one token a patch (BSQ-ViT, Zhao et al. 2024, section 4).

    Everything inside is a clip (B, C, T, H, W); an image is a clip of one frame. A patch lies in one frame, and both
    transformers attend under `block_causal` with a frame as block: a frame's tokens, and its pixels after decoding, do
    not depend on later frames, and a first frame is coded as an image is. No weight depends on the number of frames.

    Positions are rotary in (t, h, w), so they are relative: nothing ties a weight to a place in the image.

    Args:
        quantizer: the bottleneck; its `dim` is the number of channels a token.
        encoder: of patches, with modulation none.
        decoder: of codes, with modulation none; it may have another shape than the encoder.
        image_size: height and width in pixels, divisible by `patch`.
        channels: of the image, 1 or 3 as a rule.
        patch: pixels a token in each direction.
        frames: samples are clips (C, frames, H, W); None for images (C, H, W).

    Raises:
        UserError: sizes that do not fit, a modulated transformer, or one whose rotary shares leave an axis of the grid
            without positions.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        encoder: Transformer,
        decoder: Transformer,
        image_size: int = 64,
        channels: int = 3,
        patch: int = 8,
        frames: int | None = None,
    ) -> None:
        super().__init__()
        if min(image_size, channels, patch, 1 if frames is None else frames) < 1:
            sizes = f"{image_size}, {channels}, {patch}, {frames}"
            raise UserError(f"image_size, channels, patch and frames must be at least 1; got {sizes}")
        side, rest = divmod(image_size, patch)
        if rest:
            raise UserError(f"image_size {image_size} is not divisible by the patch of {patch} pixels")
        grid = (frames or 1, side, side)
        for name, transformer in (("encoder", encoder), ("decoder", decoder)):
            _check(name, transformer, grid)

        self.patch = patch
        self.sample_shape = (channels, *([] if frames is None else [frames]), image_size, image_size)
        modality = "image" if frames is None else "video"
        self.spec = TokenSpec(quantizer.kind, quantizer.size, grid, levels=quantizer.levels, modality=modality)
        self.quantizer, self.encoder, self.decoder = quantizer, encoder, decoder
        pixels = channels * patch**2
        self.from_pixels = nn.Linear(pixels, encoder.dim)
        self.to_latents = nn.Linear(encoder.dim, quantizer.dim)
        self.from_codes = nn.Linear(quantizer.dim, decoder.dim)
        self.to_pixels = nn.Linear(decoder.dim, pixels)
        self._initialise()

    def _initialise(self) -> None:
        """Unit variance for the latents, and for what enters the decoder: codes on the unit sphere would otherwise
        vanish beside the branches of its blocks, and training starts slowly.
        """
        for linear in (self.from_pixels, self.to_latents):
            nn.init.normal_(linear.weight, std=1 / math.sqrt(linear.in_features))
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.from_codes.weight)
        nn.init.zeros_(self.from_codes.bias)

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the map to pixels."""
        return self.to_pixels.get_parameter("weight")

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        return Tokens(self.quantizer.encode(self._latents(self._clip(x))), self.spec.grid)

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Tensor:
        codes = self.quantizer.lookup(self.check_tokens(tokens))
        return self._samples(self._pixels(codes, self.spec.grid)).clamp(-1, 1)

    def forward(self, x: Tensor) -> Reconstruction:
        quantized = self.quantizer(self._latents(self._clip(x)))
        made = self._samples(self._pixels(quantized.values, self.spec.grid))
        return Reconstruction(made, Tokens(quantized.indices, self.spec.grid), quantized.losses)

    def _clip(self, x: Tensor) -> Tensor:
        """Samples (B, *sample_shape) -> clips (B, C, T, H, W)."""
        x = self.check_samples(x)
        return x if x.ndim == 5 else rearrange(x, "b c h w -> b c 1 h w")

    def _samples(self, clip: Tensor) -> Tensor:
        """Inverse of `_clip`."""
        return clip if len(self.sample_shape) == 4 else rearrange(clip, "b c 1 h w -> b c h w")

    def _latents(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, N, quantizer.dim), N = T h w; any number of frames."""
        patches = rearrange(clip, "b c t (h p) (w q) -> b t h w (c p q)", p=self.patch, q=self.patch)
        _, t, h, w, _ = patches.shape
        x = self.from_pixels(rearrange(patches, "b t h w c -> b (t h w) c"))
        return self.to_latents(self.encoder(x, _layout((t, h, w), x.device), block_causal))

    def _pixels(self, codes: Tensor, grid: Grid) -> Tensor:
        """(B, N, quantizer.dim) -> (B, C, T, H, W), not clamped."""
        x = self.from_codes(codes.to(self.from_codes.weight.dtype))
        patches = self.to_pixels(self.decoder(x, _layout(grid, x.device), block_causal))
        t, h, w = grid
        return rearrange(patches, "b (t h w) (c p q) -> b c t (h p) (w q)", t=t, h=h, w=w, p=self.patch, q=self.patch)


def _layout(grid: Grid, device: torch.device) -> Layout:
    """Raster order with a frame as block; the same object every time, so that masks and tables are found again."""
    return grid_layout(grid, block_size=math.prod(grid[1:])).to(device)


def _check(name: str, transformer: Transformer, grid: Grid) -> None:
    if any(isinstance(module, AdaLN) for module in transformer.modules()):
        raise UserError(f"the {name} of a ViTTokenizer has no condition to be modulated by: set its modulation to none")
    rotary = transformer.rotary
    for axis, (letter, count) in enumerate(zip("thw", grid, strict=True)):
        if count > 1 and (rotary is None or not rotary.frequencies[axis].any()):
            raise UserError(
                f"the {name} of a ViTTokenizer cannot tell the {count} places along {letter} apart: "
                f"give it rope with a share for {letter}, such as {[int(n > 1) for n in grid]}, and heads wide enough"
            )
