"""Layers one after another that stream: each keeps what it needs of earlier inputs in a state that the caller owns."""

from torch import Tensor, nn

State = dict[nn.Module, Tensor]  # what each layer keeps of its last inputs; empty before the first chunk


class Chain(nn.ModuleList):
    """Layers of clips one after another: (b, t, c, h, w), or (b, c, t) of sound, state -> the same of other sizes."""

    def forward(self, x: Tensor, state: State) -> Tensor:
        for layer in self:
            x = layer(x, state)
        return x
