"""Causal encoder and decoder of clips that are quick on a CPU: the convolutions of `conv` a frame, and some over time.

Frames are an axis of their own, (b, t, c, h, w), and nothing but `TimeConv` mixes them: convolutions over space and
norms work on each frame by itself. What came before a clip is taken to be its first frame, standing still.

A layer keeps what it needs of the frames before in a `State`, which the caller owns: a whole clip is a single chunk
that begins with an empty one.
"""

from einops import rearrange
from torch import Tensor, cat, nn

from mmgen.tokenizers.base import State
from mmgen.tokenizers.causal_conv import Chain, Streamed
from mmgen.tokenizers.conv import Grow, Shrink, norm

Stride = tuple[int, int]  # frames, and pixels in each direction

_KERNEL = 3  # frames that a convolution over time sees: its own and those before


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
    """(b, t n, channels, h s, w s) -> (b, t, out, h, w) with n and s the products of the strides.

    Args:
        channels: of the clip.
        width: channels of the convolutions.
        strides: how much each step shrinks the clip, the outermost first.
        blocks: residual blocks a step.
        out: channels of the latent grid.
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
