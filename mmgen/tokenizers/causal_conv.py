"""Causal convolutions over time, (b, c, t), that stream."""

from einops import rearrange
from torch import Tensor, cat, nn
from torch.nn.utils.parametrizations import weight_norm

from mmgen.tokenizers.chain import State


class CausalConv(nn.Module):
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
    ) -> None:
        super().__init__()
        conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation, groups=groups)
        self.conv = weight_norm(conv) if normed else conv
        self.before = (kernel - 1) * dilation - (stride - 1)

    def forward(self, x: Tensor, state: State) -> Tensor:
        if not self.before:
            return self.conv(x)
        before = state[self] if self in state else x.new_zeros(*x.shape[:2], self.before)
        x = cat([before, x], dim=2)
        state[self] = x[..., -self.before :]
        return self.conv(x)


class FrameBlock(nn.Module):
    """x + mlp(norm(conv(x))), with a convolution of each channel by itself (ConvNeXt, Liu et al. 2022); the identity at
    first. Takes the place of SEANet's LSTM, a token seeing the four before.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time = CausalConv(width, width, _FRAMES, groups=width, normed=False)
        last = nn.Linear(_WIDER * width, width)
        nn.init.zeros_(last.weight)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _WIDER * width), nn.GELU(), last)

    def forward(self, x: Tensor, state: State) -> Tensor:
        return x + rearrange(self.mlp(rearrange(self.time(x, state), "b c t -> b t c")), "b t c -> b c t")


_FRAMES = 5  # tokens that a block sees: its own and those before


_WIDER = 3  # the inside of a block against its outside
