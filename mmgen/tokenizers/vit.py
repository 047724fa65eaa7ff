"""Patch transformer tokenizer (BSQ-ViT) for images and video: the shared backbone around a quantizer."""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, grid_layout
from mmgen.core.masks import block_causal
from mmgen.core.shape_cache import passing
from mmgen.core.tokens import Grid, TokenSpec
from mmgen.core.window import Window
from mmgen.model.backbone import Cache, Transformer
from mmgen.model.backbone.modulation import AdaLN
from mmgen.tokenizers.base import State
from mmgen.tokenizers.quantized import QuantizedTokenizer
from mmgen.tokenizers.quantizers import Quantizer

Run = Callable[[Tensor, Grid], Tensor]  # (B, T h w, dim) and (T, h, w) -> (B, T h w, dim)


class ViT(QuantizedTokenizer):
    """Transformer encoder and decoder over square patches, one token a patch (BSQ-ViT, Zhao et al. 2024, section 4).

    A modality names itself in a subclass. Everything inside is a clip (B, C, T, H, W); an image is a clip of one frame.
    A patch lies in one frame, and both transformers attend under `block_causal` with a frame as block: a frame's
    tokens, and its pixels after decoding, do not depend on later frames, and a first frame is coded as an image is.

    Positions are rotary in (t, h, w), so that no weight depends on the number of frames. With a window, a stream's
    memory does not grow.

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
    decoder: Transformer

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
        """Unit variance for the latents and for what enters the decoder, where codes on a sphere would vanish."""
        for linear in (self.from_pixels, self.to_latents):
            nn.init.normal_(linear.weight, std=1 / math.sqrt(linear.in_features))
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.from_codes.weight)
        nn.init.zeros_(self.from_codes.bias)

    @property
    def last_layer(self) -> nn.Parameter:
        return self.to_pixels.get_parameter("weight")

    def stream_state(self) -> State:
        return {each: FrameStream(each, self.window) for each in (self.encoder, self.decoder)}

    def latents(self, x: Tensor, state: State) -> Tensor:
        clip = x if x.ndim == 5 else x.unsqueeze(2)
        patches = rearrange(clip, "b c t (h p) (w q) -> b t h w (c p q)", p=self.patch, q=self.patch)
        t, h, w = patches.shape[1:4]
        encode = state.get(self.encoder) or at_once(self.encoder, self.window)
        x = encode(self.from_pixels(patches.flatten(1, 3)), (t, h, w))
        return self.to_latents(x).unflatten(1, (t, h, w))

    def samples(self, codes: Tensor, length: int, state: State) -> Tensor:
        t, h, w = codes.shape[1:4]
        decode = state.get(self.decoder) or at_once(self.decoder, self.window)
        x = decode(self.from_codes(codes.flatten(1, 3).to(self.from_codes.weight.dtype)), (t, h, w))
        to_clip = "b (t h w) (c p q) -> b c t (h p) (w q)"
        clip = rearrange(self.to_pixels(x), to_clip, t=t, h=h, w=w, p=self.patch, q=self.patch)
        return clip if len(self.sample_shape) == 4 else clip.squeeze(2)


def _check(name: str, transformer: Transformer, several: tuple[bool, bool, bool]) -> None:
    """`several` says along which of (t, h, w) there can be more than one place."""
    if any(isinstance(module, AdaLN) for module in transformer.modules()):
        raise UserError(f"the {name} of a ViT has no condition to be modulated by: set its modulation to none")
    rotary = transformer.rotary
    for axis, letter in enumerate("thw"):
        if several[axis] and (rotary is None or not rotary.counts[axis]):
            shares = [int(more) for more in several]
            raise UserError(
                f"the {name} of a ViT cannot tell places along {letter} apart: "
                f"give it rope with a share for {letter}, such as {shares}, and heads wide enough"
            )


def at_once(transformer: Transformer, window: Window) -> Run:
    """All frames in one pass: each sees itself and earlier ones, as far as the window goes."""

    def run(x: Tensor, grid: Grid) -> Tensor:
        return transformer(x, _frames(grid, 0, x.device), window.restrict(block_causal))

    return run


class FrameStream:
    """The same, for consecutive chunks of frames: keys and values of the frames before are cached.

    With a window the cache has one size, whatever the length of the clip and of its chunks; without one it grows.
    """

    def __init__(self, transformer: Transformer, window: Window) -> None:
        self._transformer, self._window = transformer, window
        self._cache: Cache | None = None
        self._start = 0

    @property
    def capacity(self) -> int:
        """Positions that the cache has room for."""
        return 0 if self._cache is None else self._cache.capacity

    def __call__(self, x: Tensor, grid: Grid) -> Tensor:
        """The next frames, x (B, T h w, dim) of grid (T, h, w) -> (B, T h w, dim)."""
        frame, width = math.prod(grid[1:]), self._window.width
        if self._cache is None:
            capacity = x.shape[1] if width is None else (2 * width - 1) * frame  # those kept, and as many as one sees
            self._cache = self._transformer.new_cache(len(x), capacity)
        pieces = (x,) if width is None else x.split(width * frame, dim=1)
        return torch.cat([self._piece(piece, (piece.shape[1] // frame, *grid[1:]), self._cache) for piece in pieces], 1)

    def _piece(self, x: Tensor, grid: Grid, cache: Cache) -> Tensor:
        cache.reserve(x.shape[1])
        layout, mask = _frames(grid, self._start, x.device), self._window.restrict(block_causal)
        with passing():  # frames move on, so no mask and no table is ever the same again
            x = self._transformer(x, layout, mask, cache=cache)
        self._start += grid[0]
        if self._window.width is not None and cache.layout is not None:
            cache.keep(self._window.visible(cache.layout, self._start))
        return x


def _frames(grid: Grid, start: int, device: torch.device) -> Layout:
    """Raster order with a frame as block, from frame `start` on; from 0 on a cached object, as its masks are."""
    frame = math.prod(grid[1:])
    layout = grid_layout(grid, block_size=frame).to(device)
    if not start:
        return layout
    return layout.but(
        position=layout.position + torch.tensor([start, 0, 0], device=device),
        rank=layout.rank + start * frame,
        block=layout.block + start,
        frame=layout.frame + start,
    )
