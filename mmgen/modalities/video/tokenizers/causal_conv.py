"""Causal convolutional tokenizer of clips around any quantizer, quick on a CPU.

Inside, frames are an axis of their own, (b, t, c, h, w), and nothing but `TimeConv` mixes them. Before a clip there is
its first frame, standing still.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, cat, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.tokenizers.base import State
from mmgen.tokenizers.causal_conv import Chain, Streamed
from mmgen.tokenizers.conv import Grow, Shrink, check_sizes, norm
from mmgen.tokenizers.quantized import QuantizedTokenizer
from mmgen.tokenizers.quantizers import Quantizer

Stride = tuple[int, int]  # frames, and pixels in each direction

_KERNEL = 3  # frames that a convolution over time sees: its own and those before


class CausalConvTokenizer(QuantizedTokenizer):
    """Residual autoencoder of causal convolutions around a quantizer, which shortens a clip in time too (after the
    causal 3-D CNN of MAGVIT-2, Yu et al. 2024, section 3.2; like the VAEs of CogVideoX and Wan).

    A latent stands for a group of `time_stride` frames, and neither tokens nor pixels depend on later groups. Where a
    clip is no whole number of groups, the first one is short: copies of the first frame fill it in the encoder, and the
    decoder drops as many. So a clip of one frame is an image, and a clip of 1 + k `time_stride` frames begins with it.

    Args:
        quantizer: the bottleneck; its `dim` is the number of channels of the latent grid.
        frames: of the clips that it is trained on; it codes any number.
        image_size: height and width in pixels, divisible by the total downsampling.
        channels: of a frame, 1 or 3 as a rule.
        width: channels of the convolutions.
        downsample: pixels a token in each direction: a power of two, reached in steps of 2, or the steps themselves
            ([4, 2] is 8 in two steps, of which the first is cheapest).
        time_stride: frames a token: a power of two, reached in steps of 2 from the innermost step of `downsample`
            outwards, or the steps themselves, one beside each of `downsample` (early steps are cheapest). 1 keeps a
            token a frame.
        blocks: residual blocks per resolution, in the encoder and again in the decoder.
        patch: side of the square of latents that one token holds, which shortens the row of a generator while the
            convolutions keep their resolution (DiT, Peebles & Xie 2023, section 3.2; ACDiT takes 2).

    Raises:
        UserError: sizes that are too small or do not divide, or steps in time that do not stand beside those in space.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        frames: int = 12,
        image_size: int = 64,
        channels: int = 1,
        width: int = 64,
        downsample: int | list[int] = 8,
        time_stride: int | list[int] = 2,
        blocks: int = 1,
        patch: int = 1,
    ) -> None:
        super().__init__()
        strides = check_sizes(image_size, channels, width, downsample, blocks)
        times = _time_steps(time_stride, len(strides))
        if frames < 1:
            raise UserError(f"frames must be at least 1, got {frames}")
        side, stride = image_size // math.prod(strides), math.prod(times)
        if patch < 1 or side % patch or quantizer.dim % patch**2:
            raise UserError(
                f"patch {patch} must divide the side of {side} latents, its square the {quantizer.dim} numbers a token"
            )
        self.patch = patch
        self.sample_shape = (channels, frames, image_size, image_size)
        grid, first = (math.ceil(frames / stride), side // patch, side // patch), (frames - 1) % stride + 1
        self.spec = TokenSpec(
            quantizer.kind, quantizer.size, grid, quantizer.levels, "video", stride=stride, first=first
        )
        self.quantizer = quantizer
        steps = list(zip(times, strides, strict=True))
        self.encoder = causal_encoder(channels, width, steps, blocks, quantizer.inputs // patch**2)
        self.decoder = causal_decoder(channels, width, steps, blocks, quantizer.dim // patch**2)

    def latents(self, x: Tensor, state: State) -> Tensor:
        x = rearrange(x, "b c t h w -> b t c h w")
        missing = -x.shape[1] % self.spec.stride  # none but in the first chunk, which may begin with a short group
        x = torch.cat([x[:, :1].expand(-1, missing, -1, -1, -1), x], dim=1)
        fold = "b t c (h p) (w q) -> b t h w (c p q)"
        return rearrange(self.encoder(x, state), fold, p=self.patch, q=self.patch)

    def samples(self, codes: Tensor, length: int, state: State) -> Tensor:
        unfold = "b t h w (c p q) -> b t c (h p) (w q)"
        codes = rearrange(codes.to(self.last_layer.dtype), unfold, p=self.patch, q=self.patch).contiguous()
        return rearrange(self.decoder(codes, state)[:, -length:], "b t c h w -> b c t h w")


def _time_steps(time_stride: int | list[int], steps: int) -> list[int]:
    """Frames that each of so many steps folds into one, the outermost first."""
    if isinstance(time_stride, list):
        if len(time_stride) != steps or min(time_stride) < 1:
            raise UserError(
                f"time_stride {time_stride} must give a whole number of at least 1 for each of {steps} steps in space"
            )
        return time_stride
    halvings = time_stride.bit_length() - 1
    if time_stride < 1 or time_stride != 2**halvings or halvings > steps:
        raise UserError(
            f"time_stride {time_stride} is not a power of two from 1 to {2**steps}; give the steps as a list, one for"
            f" each of the {steps} in space"
        )
    return [1] * (steps - halvings) + [2] * halvings


class EachFrame(Streamed):
    """Layers of images on every frame by itself."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, state: State) -> Tensor:
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class TimeConv(Streamed):
    """(b, t, c, h, w) -> the same shape: a causal convolution over three frames, kernel (3, 1, 1); zero at first.

    Before the first frame of a clip there are copies of it. Written as a 1 x 1 convolution on frames that are stacked
    as channels, the oldest first, which is quicker on a CPU than one in three dimensions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(_KERNEL * width, width, 1)
        nn.init.zeros_(self.conv.weight)

    def forward(self, x: Tensor, state: State) -> Tensor:
        frames = x.shape[1]
        x = self.after_past(x, state, x[:, :1].expand(-1, _KERNEL - 1, -1, -1, -1), 1)
        stacked = cat([x[:, lag : lag + frames] for lag in range(_KERNEL)], dim=2)
        return self.conv(stacked.flatten(0, 1)).unflatten(0, stacked.shape[:2])


class CausalBlock(Streamed):
    """x + time(space(x)), a 3 x 3 x 3 convolution in two factors (Qiu et al. 2017, P3D-A); the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.space = EachFrame(norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), norm(width), nn.SiLU())
        self.time = TimeConv(width)

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x + self.time(self.space(x, state), state)


class ClipShrink(Streamed):
    """(b, t n, c, h s, w s) -> (b, t, out, h, w): time and space to depth, then a convolution over space."""

    def __init__(self, channels: int, out: int, stride: Stride) -> None:
        super().__init__()
        self.frames, side = stride
        self.shrink = EachFrame(Shrink(channels * self.frames, out, side))

    def forward(self, x: Tensor, state: State) -> Tensor:
        return self.shrink(rearrange(x, "b (t n) c h w -> b t (n c) h w", n=self.frames), state)


class ClipGrow(Streamed):
    """(b, t, c, h, w) -> (b, t n, out, h s, w s): a convolution over space, then depth to time and space."""

    def __init__(self, channels: int, out: int, stride: Stride) -> None:
        super().__init__()
        self.frames, side = stride
        self.grow = EachFrame(Grow(channels, out * self.frames, side))

    def forward(self, x: Tensor, state: State) -> Tensor:
        return rearrange(self.grow(x, state), "b t (n c) h w -> b (t n) c h w", n=self.frames)


def causal_encoder(channels: int, width: int, strides: list[Stride], blocks: int, out: int) -> Chain:
    """(b, t n, channels, h s, w s) -> (b, t, out, h, w) with n and s the products of the strides, the outermost first;
    `blocks` residual blocks a step.
    """
    inputs = [channels] + [width] * (len(strides) - 1)
    down = [
        layer
        for c, stride in zip(inputs, strides, strict=True)
        for layer in (ClipShrink(c, width, stride), *(CausalBlock(width) for _ in range(blocks)))
    ]
    return Chain([*down, EachFrame(norm(width), nn.SiLU(), nn.Conv2d(width, out, 1))])


def causal_decoder(channels: int, width: int, strides: list[Stride], blocks: int, dim: int) -> Chain:
    """(b, t, dim, h, w) -> (b, t n, channels, h s, w s): the mirror image of `causal_encoder`."""
    outputs = [channels] + [width] * (len(strides) - 1)
    up = [
        layer
        for c, stride in reversed(list(zip(outputs, strides, strict=True)))
        for layer in (*(CausalBlock(width) for _ in range(blocks)), ClipGrow(width, c, stride))
    ]
    return Chain([EachFrame(nn.Conv2d(dim, width, 3, padding=1)), *up])
