"""Encoders and decoders of motion, which may look back only: the convolutions over time of T2M-GPT and MoMask, and
patches of frames, which learn in far fewer steps.
"""

from collections.abc import Sequence

from einops.layers.torch import Rearrange
from torch import Tensor, nn

from mmgen.tokenizers.base import State
from mmgen.tokenizers.causal_conv import CausalConv, Chain, FrameBlock, Streamed


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
    layers: list[nn.Module] = [_conv(dims, width, 3, causal), nn.ReLU()]
    for _ in range(steps):
        layers += [_conv(width, width, 4, causal, stride=2), *_blocks(width, dilations, causal)]
    return Chain([*layers, _conv(width, out, 3, causal)])


def conv_decoder(dims: int, width: int, steps: int, dilations: Sequence[int], dim: int, causal: bool) -> Chain:
    """(b, dim, t) -> (b, dims, t 2^steps): the mirror image of `conv_encoder`, but for the order of the dilations."""
    layers: list[nn.Module] = [_conv(dim, width, 3, causal), nn.ReLU()]
    for _ in range(steps):
        layers += [*_blocks(width, dilations, causal), nn.Upsample(scale_factor=2), _conv(width, width, 3, causal)]
    return Chain([*layers, _conv(width, width, 3, causal), nn.ReLU(), _conv(width, dims, 3, causal)])


def patch_encoder(dims: int, width: int, frames: int, blocks: int, out: int, causal: bool) -> Chain:
    """(b, dims, t frames) -> (b, out, t), frames becoming channels. At first it is linear: the blocks are the identity.

    Args:
        dims: features a frame.
        width: channels at the rate of tokens.
        frames: a token.
        blocks: at the rate of tokens.
        out: channels of the latents.
        causal: no latent depends on later frames.
    """
    first = [Rearrange("b c (t frames) -> b (c frames) t", frames=frames), _conv(dims * frames, width, 1, causal)]
    return Chain([*first, *(PatchBlock(width, causal) for _ in range(blocks)), _conv(width, out, 1, causal)])


def patch_decoder(dims: int, width: int, frames: int, blocks: int, dim: int, causal: bool) -> Chain:
    """(b, dim, t) -> (b, dims, t frames): the mirror image of `patch_encoder`."""
    last = [_conv(width, dims * frames, 1, causal), Rearrange("b (c frames) t -> b c (t frames)", frames=frames)]
    return Chain([_conv(dim, width, 1, causal), *(PatchBlock(width, causal) for _ in range(blocks)), *last])


class DilatedBlock(Streamed):
    """x + narrow(wide(x)): ReLU, a dilated convolution, ReLU, and a convolution of each frame by itself."""

    def __init__(self, width: int, dilation: int, causal: bool) -> None:
        super().__init__()
        wide = _conv(width, width, 3, causal, dilation=dilation)
        self.branch = Chain([nn.ReLU(), wide, nn.ReLU(), _conv(width, width, 1, causal)])

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x + self.branch(x, state)


class PatchBlock(FrameBlock):
    """A block of ConvNeXt at the rate of tokens, which sees the four tokens before its own, or two on each side."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__(width)
        if not causal:  # drawn after the rest of the block
            kernel = self.time.conv.kernel_size[0]
            self.time = CausalConv(width, width, kernel, groups=width, normed=False, causal=False)


def _conv(inputs: int, outputs: int, kernel: int, causal: bool, stride: int = 1, dilation: int = 1) -> CausalConv:
    return CausalConv(inputs, outputs, kernel, stride, dilation, normed=False, causal=causal)


def _blocks(width: int, dilations: Sequence[int], causal: bool) -> list[nn.Module]:
    return [DilatedBlock(width, dilation, causal) for dilation in dilations]
