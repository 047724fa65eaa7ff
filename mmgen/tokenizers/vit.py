"""Patch transformer tokenizer (BSQ-ViT) for images and video: the shared backbone around a quantizer."""

import math
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import Grid, Tokens, TokenSpec
from mmgen.core.window import Window
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.modulation import AdaLN
from mmgen.tokenizers.base import Reconstruction
from mmgen.tokenizers.frames import Arriving, Run, at_once
from mmgen.tokenizers.quantizers import Quantizer
from mmgen.tokenizers.stream import TokenizerStream
from mmgen.tokenizers.video import VideoTokenizer


class ViT(VideoTokenizer):
    """Transformer encoder and decoder over square patches, one token a patch (BSQ-ViT, Zhao et al. 2024, section 4).

    A modality names itself in a subclass. Everything inside is a clip (B, C, T, H, W); an image is a clip of one frame.
    A patch lies in one frame, and both transformers attend under `block_causal` with a frame as block: a frame's
    tokens, and its pixels after decoding, do not depend on later frames, and a first frame is coded as an image is.

    Positions are rotary in (t, h, w), so they are relative: nothing ties a weight to a place in the image, and no
    weight depends on the number of frames. Clips may have any; with a window, a stream's memory does not grow.

    Args:
        quantizer: the bottleneck, of discrete or continuous tokens.
        encoder: of patches, with modulation none.
        decoder: of codes, with modulation none; it may have another shape than the encoder.
        image_size: height and width in pixels, divisible by `patch`.
        channels: of the image, 1 or 3 as a rule.
        patch: pixels a token in each direction.
        frames: samples are clips (C, frames, H, W); None for images (C, H, W).
        window: frames that a frame may see in each transformer, itself among them; None for all earlier ones. Through
            d blocks a frame still depends on up to d (window - 1) frames before it.

    Raises:
        UserError: sizes that do not fit, a modulated transformer, or one whose rotary shares leave an axis of the grid
            without positions.
    """

    modality: ClassVar[str]

    def __init__(
        self,
        quantizer: Quantizer,
        encoder: Transformer,
        decoder: Transformer,
        image_size: int = 64,
        channels: int = 3,
        patch: int = 8,
        frames: int | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if min(image_size, channels, patch, 1 if frames is None else frames) < 1:
            sizes = f"{image_size}, {channels}, {patch}, {frames}"
            raise UserError(f"image_size, channels, patch and frames must be at least 1; got {sizes}")
        side, rest = divmod(image_size, patch)
        if rest:
            raise UserError(f"image_size {image_size} is not divisible by the patch of {patch} pixels")
        grid = (frames or 1, side, side)
        several = (frames is not None, side > 1, side > 1)
        for name, transformer in (("encoder", encoder), ("decoder", decoder)):
            _check(name, transformer, several)

        self.patch, self.window = patch, Window(window)
        self.sample_shape = (channels, *([] if frames is None else [frames]), image_size, image_size)
        self.spec = TokenSpec(quantizer.kind, quantizer.size, grid, levels=quantizer.levels, modality=self.modality)
        self.quantizer, self.encoder, self.decoder = quantizer, encoder, decoder
        pixels = channels * patch**2
        self.from_pixels = nn.Linear(pixels, encoder.dim)
        self.to_latents = nn.Linear(encoder.dim, quantizer.inputs)
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
        return self.tokens_of(self._clip(x), at_once(self.encoder, self.window))

    @torch.no_grad()
    def decode(self, tokens: Tokens, frames: int | None = None) -> Tensor:
        self.check_tokens(tokens)
        self.clip_length(tokens, frames)
        return self._samples(self.clip_of(tokens, at_once(self.decoder, self.window)))

    def forward(self, x: Tensor) -> Reconstruction:
        latents, grid = self._latents(self._clip(x), at_once(self.encoder, self.window))
        quantized = self.quantizer(latents)
        made = self._samples(self._pixels(quantized.values, grid, at_once(self.decoder, self.window)))
        return Reconstruction(made, Tokens(quantized.indices, grid), quantized.losses)

    def streaming(self) -> TokenizerStream:
        return super().streaming() if self.spec.unit is None else ViTStream(self)

    def tokens_of(self, clip: Tensor, encoder: Run) -> Tokens:
        """Frames (B, C, T, H, W) -> their tokens, through a run of the encoder."""
        latents, grid = self._latents(clip, encoder)
        return Tokens(self.quantizer.encode(latents), grid)

    def clip_of(self, tokens: Tokens, decoder: Run) -> Tensor:
        """Tokens -> frames (B, C, T, H, W) in [-1, 1], through a run of the decoder."""
        return self._pixels(self.quantizer.lookup(tokens.values), tokens.grid, decoder).clamp(-1, 1)

    def _clip(self, x: Tensor) -> Tensor:
        """Samples (B, *sample_shape) -> clips (B, C, T, H, W)."""
        x = self.check_samples(x)
        return x if x.ndim == 5 else rearrange(x, "b c h w -> b c 1 h w")

    def _samples(self, clip: Tensor) -> Tensor:
        """Inverse of `_clip`."""
        return clip if len(self.sample_shape) == 4 else rearrange(clip, "b c 1 h w -> b c h w")

    def _latents(self, clip: Tensor, encoder: Run) -> tuple[Tensor, Grid]:
        """(B, C, T, H, W) -> (B, N, quantizer.inputs) with N = T h w, and (T, h, w)."""
        patches = rearrange(clip, "b c t (h p) (w q) -> b t h w (c p q)", p=self.patch, q=self.patch)
        _, t, h, w, _ = patches.shape
        x = self.from_pixels(rearrange(patches, "b t h w c -> b (t h w) c"))
        return self.to_latents(encoder(x, (t, h, w))), (t, h, w)

    def _pixels(self, codes: Tensor, grid: Grid, decoder: Run) -> Tensor:
        """(B, N, quantizer.dim) -> (B, C, T, H, W), not clamped."""
        x = self.from_codes(codes.to(self.from_codes.weight.dtype))
        patches = self.to_pixels(decoder(x, grid))
        t, h, w = grid
        return rearrange(patches, "b (t h w) (c p q) -> b c t (h p) (w q)", t=t, h=h, w=w, p=self.patch, q=self.patch)


class ViTStream(TokenizerStream):
    """Frames as they arrive, each with the keys and values of those before it."""

    def __init__(self, tokenizer: ViT) -> None:
        super().__init__(tokenizer)
        self._vit = tokenizer
        self.encoder = Arriving(tokenizer.encoder, tokenizer.window)
        self.decoder = Arriving(tokenizer.decoder, tokenizer.window)

    def encode_chunk(self, x: Tensor) -> Tokens:
        return self._vit.tokens_of(x, self.encoder)

    def decode_chunk(self, tokens: Tokens, frames: int) -> Tensor:
        return self._vit.clip_of(tokens, self.decoder)


def _check(name: str, transformer: Transformer, several: tuple[bool, bool, bool]) -> None:
    """`several` says along which of (t, h, w) there can be more than one place."""
    if any(isinstance(module, AdaLN) for module in transformer.modules()):
        raise UserError(f"the {name} of a ViT has no condition to be modulated by: set its modulation to none")
    rotary = transformer.rotary
    for axis, letter in enumerate("thw"):
        if several[axis] and (rotary is None or not rotary.frequencies[axis].any()):
            shares = [int(more) for more in several]
            raise UserError(
                f"the {name} of a ViT cannot tell places along {letter} apart: "
                f"give it rope with a share for {letter}, such as {shares}, and heads wide enough"
            )
