"""A codec's way into its network by mel spectrograms, causal, where convolutions over samples would take long."""

import math

from einops import rearrange
from torch import Tensor, cat, nn

from mmgen.core.errors import UserError
from mmgen.media.log_mel import LogMel
from mmgen.modalities.speech.tokenizers.seanet import Elu
from mmgen.tokenizers.causal_conv import CausalConv, FrameBlock
from mmgen.tokenizers.chain import Chain, State


class MelFront(nn.Module):
    """(b, 1, t stride) -> (b, width, t): log-mel spectra through windows that end with their token, and a linear map.

    The spectra are scaled so that the floor is -1 and a full-scale tone about 1. A mel spectrum does not tell where in
    a window a sound is, and a window fades what is newest in it: several short frames a token keep onsets sharp.

    Args:
        sample_rate: in Hz.
        stride: samples a token.
        width: channels that come out.
        frames: of the spectrogram, a token; must divide the stride.
        n_fft: samples of a window.
        bins: mel bands.
        floor: magnitude below which all is silence.

    Raises:
        UserError: a stride that does not divide, or is longer than the windows.
    """

    def __init__(
        self,
        sample_rate: int,
        stride: int,
        width: int,
        frames: int,
        n_fft: int = 512,
        bins: int = 80,
        floor: float = 1e-4,
    ) -> None:
        super().__init__()
        if stride % frames:
            raise UserError(f"a mel front takes {frames} spectra a token, which do not divide its {stride} samples")
        self.mel, self.per_token = LogMel(sample_rate, n_fft, stride // frames, bins, floor), frames
        self.before = n_fft - self.mel.hop
        self.project = nn.Conv1d(frames * bins, width, 1)

    def forward(self, x: Tensor, state: State) -> Tensor:
        before = state[self] if self in state else x.new_zeros(*x.shape[:2], self.before)
        x = cat([before, x], dim=2)
        state[self] = x[..., -self.before :]
        bands = 1 - self.mel.frames(x) * (2 / math.log(self.mel.floor))
        return self.project(rearrange(bands, "b c (t n) -> b (n c) t", n=self.per_token).to(self.project.weight.dtype))


def mel_encoder(sample_rate: int, stride: int, width: int, blocks: int, out: int) -> Chain:
    """(b, 1, t stride) -> (b, out, t), in the place of `seanet_encoder`.

    Args:
        sample_rate: in Hz.
        stride: samples a token.
        width: channels at the rate of tokens.
        blocks: at the rate of tokens.
        out: channels of the latents.
    """
    frames = next(count for count in (4, 3, 2, 1) if stride % count == 0)
    layers = [MelFront(sample_rate, stride, width, frames), *(FrameBlock(width) for _ in range(blocks))]
    return Chain([*layers, Elu(), CausalConv(width, out, 3)])
