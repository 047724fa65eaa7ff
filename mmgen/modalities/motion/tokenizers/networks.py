"""Encoders and decoders of motion, which may look back only: the convolutions over time of T2M-GPT and MoMask, and
patches of frames, which learn in far fewer steps.

A layer that looks back keeps what it needs of the frames before in a `State`, which the caller owns, as in
`mmgen.modalities.speech.tokenizers.seanet`: chunks of whole tokens then equal the whole.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.tokenizers.causal_conv import CausalConv, FrameBlock
from mmgen.tokenizers.chain import Chain, State


def conv_encoder(dims: int, width: int, steps: int, dilations: Sequence[int], out: int, causal: bool) -> Chain:
    """(b, dims, t 2^steps) -> (b, out, t).

    Args:
        dims: features a frame.
        width: channels of the convolutions.
        steps: halvings of the number of frames.
        dilations: of the residual blocks after each step, in order.
        out: channels of the latents.
        causal: no latent depends on later frames.
    """
    layers: list[nn.Module] = [_conv(dims, width, 3, causal), Relu()]
    for _ in range(steps):
        layers += [_conv(width, width, 4, causal, stride=2), *_blocks(width, dilations, causal)]
    return Chain([*layers, _conv(width, out, 3, causal)])


def conv_decoder(dims: int, width: int, steps: int, dilations: Sequence[int], dim: int, causal: bool) -> Chain:
    """(b, dim, t) -> (b, dims, t 2^steps): the mirror image of `conv_encoder`, but for the order of the dilations."""
    layers: list[nn.Module] = [_conv(dim, width, 3, causal), Relu()]
    for _ in range(steps):
        layers += [*_blocks(width, dilations, causal), DoubleTime(), _conv(width, width, 3, causal)]
    return Chain([*layers, _conv(width, width, 3, causal), Relu(), _conv(width, dims, 3, causal)])


def patch_encoder(dims: int, width: int, frames: int, blocks: int, out: int, causal: bool) -> Chain:
    """(b, dims, t frames) -> (b, out, t). At first it is linear: the blocks are the identity.

    Args:
        dims: features a frame.
        width: channels at the rate of tokens.
        frames: a token.
        blocks: at the rate of tokens.
        out: channels of the latents.
        causal: no latent depends on later frames.
    """
    first = [FoldTime(frames), _conv(dims * frames, width, 1, causal)]
    return Chain([*first, *(PatchBlock(width, causal) for _ in range(blocks)), _conv(width, out, 1, causal)])


def patch_decoder(dims: int, width: int, frames: int, blocks: int, dim: int, causal: bool) -> Chain:
    """(b, dim, t) -> (b, dims, t frames): the mirror image of `patch_encoder`."""
    last = [_conv(width, dims * frames, 1, causal), UnfoldTime(frames)]
    return Chain([_conv(dim, width, 1, causal), *(PatchBlock(width, causal) for _ in range(blocks)), *last])


class CentredConv(CausalConv):
    """The same convolution between zeros: half of what an output sees comes after it."""

    def forward(self, x: Tensor, state: State) -> Tensor:
        return self.conv(F.pad(x, (self.before // 2, self.before - self.before // 2)))


class Relu(nn.ReLU):
    """ReLU in a chain."""

    def forward(self, x: Tensor, state: State) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class DilatedBlock(nn.Module):
    """x + narrow(wide(x)): ReLU, a dilated convolution, ReLU, and a convolution of each frame by itself."""

    def __init__(self, width: int, dilation: int, causal: bool) -> None:
        super().__init__()
        wide = _conv(width, width, 3, causal, dilation=dilation)
        self.branch = Chain([Relu(), wide, Relu(), _conv(width, width, 1, causal)])

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x + self.branch(x, state)


class DoubleTime(nn.Module):
    """(b, c, t) -> (b, c, 2 t): every frame twice."""

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x.repeat_interleave(2, dim=2)


class FoldTime(nn.Module):
    """(b, c, t frames) -> (b, c frames, t): frames become channels."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor, state: State) -> Tensor:
        return rearrange(x, "b c (t frames) -> b (c frames) t", frames=self.frames)


class UnfoldTime(FoldTime):
    """(b, c frames, t) -> (b, c, t frames): the inverse."""

    def forward(self, x: Tensor, state: State) -> Tensor:
        return rearrange(x, "b (c frames) t -> b c (t frames)", frames=self.frames)


class PatchBlock(FrameBlock):
    """A block of ConvNeXt at the rate of tokens, which sees the four tokens before its own, or two on each side."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__(width)
        if not causal:
            conv = self.time.conv
            self.time = CentredConv(width, width, conv.kernel_size[0], groups=width, normed=False)


def _conv(inputs: int, outputs: int, kernel: int, causal: bool, stride: int = 1, dilation: int = 1) -> CausalConv:
    kind = CausalConv if causal else CentredConv
    return kind(inputs, outputs, kernel, stride, dilation, normed=False)


def _blocks(width: int, dilations: Sequence[int], causal: bool) -> list[nn.Module]:
    return [DilatedBlock(width, dilation, causal) for dilation in dilations]
