"""Causal encoder and decoder of sound: the convolutions of SEANet, and blocks at the rate of tokens.

Every layer looks back only, and what came before a sound is silence to it. A layer keeps what it needs of the samples
before in a `State`, which the caller owns: a whole sound is a single chunk that begins with an empty one. So chunks
equal the whole from the first sample on, if each is a whole number of tokens.
"""

from collections.abc import Sequence

from einops import rearrange
from torch import Tensor, nn

from mmgen.tokenizers.causal_conv import CausalConv, FrameBlock
from mmgen.tokenizers.chain import Chain, State


class Elu(nn.ELU):
    """ELU, the nonlinearity of SEANet, in a chain."""

    def forward(self, x: Tensor, state: State) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class ResidualUnit(nn.Module):
    """x + narrow(x): ELU, a dilated convolution to half the channels, ELU, and back by a kernel of 1."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.branch = Chain(
            [Elu(), CausalConv(channels, inner, 3, dilation=dilation), Elu(), CausalConv(inner, channels, 1)]
        )

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x + self.branch(x, state)


class GrowTime(nn.Module):
    """(b, c, t) -> (b, out, t r): a transposed convolution of kernel 2 r and stride r, trimmed on the right.

    Written as the convolution over two inputs that it is, whose r outputs then stand in order of time, which is quicker
    on a CPU.
    """

    def __init__(self, inputs: int, outputs: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.conv = CausalConv(inputs, outputs * ratio, 2)

    def forward(self, x: Tensor, state: State) -> Tensor:
        return rearrange(self.conv(x, state), "b (c r) t -> b c (t r)", r=self.ratio)


def seanet_encoder(ratios: Sequence[int], channels: int, width: int, units: int, blocks: int, out: int) -> Chain:
    """(b, 1, t n) -> (b, out, t) with n the product of the ratios.

    Args:
        ratios: how much each step shortens the sound, the innermost first.
        channels: at the rate of samples; they double with each step.
        width: the most channels, and those at the rate of tokens.
        units: residual units a step.
        blocks: at the rate of tokens.
        out: channels of the latents.
    """
    wide = _widths(ratios, channels, width)
    layers: list[nn.Module] = [CausalConv(1, wide[0], 7)]
    for ratio, c, more in zip(reversed(ratios), wide, wide[1:], strict=False):
        layers += [*_units(c, units), Elu(), CausalConv(c, more, 2 * ratio, ratio)]
    layers += [CausalConv(wide[-1], width, 3), *(FrameBlock(width) for _ in range(blocks))]
    return Chain([*layers, Elu(), CausalConv(width, out, 3)])


def frame_decoder(dim: int, width: int, blocks: int) -> Chain:
    """(b, dim, t) -> (b, width, t): the decoder's part at the rate of tokens."""
    return Chain([CausalConv(dim, width, 3), *(FrameBlock(width) for _ in range(blocks))])


def seanet_head(ratios: Sequence[int], channels: int, width: int, units: int) -> Chain:
    """(b, width, t) -> (b, 1, t n): the rest of the decoder, the mirror image of the encoder's.

    Its last convolution has no weight norm: its weight is a parameter that losses can be balanced on.
    """
    wide = _widths(ratios, channels, width)[::-1]
    layers: list[nn.Module] = [CausalConv(width, wide[0], 3)]
    for ratio, c, less in zip(ratios, wide, wide[1:], strict=False):
        layers += [Elu(), GrowTime(c, less, ratio), *_units(less, units)]
    return Chain([*layers, Elu(), CausalConv(wide[-1], 1, 7, normed=False)])


def _widths(ratios: Sequence[int], channels: int, width: int) -> list[int]:
    """Channels before the first step of the encoder, and after each."""
    return [min(channels * 2**step, width) for step in range(len(ratios) + 1)]


def _units(channels: int, units: int) -> list[nn.Module]:
    return [ResidualUnit(channels, 2**unit) for unit in range(units)]
