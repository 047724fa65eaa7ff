"""Layers that stream, one after another, and convolutions over time, (b, c, t), that look back only."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, cat, nn
from torch.nn.utils.parametrizations import weight_norm

from mmgen.tokenizers.base import State

_FRAMES = 5  # tokens that a block sees: its own and those before
_WIDER = 3  # the inside of a block against its outside


class Streamed(nn.Module):
    """A layer that is called with a state too, where it keeps what it needs of earlier inputs."""

    def after_past(self, x: Tensor, state: State, start: Tensor, dim: int) -> Tensor:
        """x behind as many of the inputs before it as `start` has, which is what comes before the first."""
        x = cat([state.get(self, start), x], dim)
        count = start.shape[dim]
        state[self] = x.narrow(dim, x.shape[dim] - count, count)
        return x


class Chain(nn.ModuleList):
    """Layers one after another, of clips (b, t, c, h, w) or of sound (b, c, t)."""

    def forward(self, x: Tensor, state: State) -> Tensor:
        for layer in self:
            x = layer(x, state) if isinstance(layer, Streamed | Chain) else layer(x)
        return x


class CausalConv(Streamed):
    """(b, c, t) -> (b, out, t / stride), a convolution of which each output sees inputs up to the end of its stride.

    Before the first input there are zeros, (kernel - 1) dilation - (stride - 1) of them.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: inputs that an output sees.
        stride: inputs to an output; must divide the length of every chunk.
        dilation: of the kernel.
        groups: of channels.
        normed: weight norm (Salimans & Kingma 2016): the length of each filter is learned apart from its direction.
        causal: otherwise half of those zeros stand behind the last input, and it does not stream.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        normed: bool = True,
        causal: bool = True,
    ) -> None:
        super().__init__()
        conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation, groups=groups)
        self.conv = weight_norm(conv) if normed else conv
        self.before, self.causal = (kernel - 1) * dilation - (stride - 1), causal

    def forward(self, x: Tensor, state: State) -> Tensor:
        if not self.causal:
            return self.conv(F.pad(x, (self.before // 2, self.before - self.before // 2)))
        if self.before:
            x = self.after_past(x, state, x.new_zeros(*x.shape[:2], self.before), 2)
        return self.conv(x)


class FrameBlock(Streamed):
    """x + mlp(norm(conv(x))), with a convolution of each channel by itself (ConvNeXt, Liu et al. 2022); the identity at
    first. Takes the place of SEANet's LSTM, a token seeing the four before.
    """

    def __init__(self, width: int, kernel: int = _FRAMES, causal: bool = True) -> None:
        super().__init__()
        self.time = CausalConv(width, width, kernel, groups=width, normed=False, causal=causal)
        last = nn.Linear(_WIDER * width, width)
        nn.init.zeros_(last.weight)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _WIDER * width), nn.GELU(), last)

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x + rearrange(self.mlp(rearrange(self.time(x, state), "b c t -> b t c")), "b t c -> b c t")
