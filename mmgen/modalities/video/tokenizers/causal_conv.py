"""Causal convolutional tokenizer of clips around any quantizer, quick on a CPU."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.modalities.video.tokenizers.causal import causal_decoder, causal_encoder
from mmgen.tokenizers.base import State
from mmgen.tokenizers.causal_conv import last_weight
from mmgen.tokenizers.conv import check_sizes
from mmgen.tokenizers.quantized import QuantizedTokenizer
from mmgen.tokenizers.quantizers import Quantizer


class CausalConvTokenizer(QuantizedTokenizer):
    """Residual autoencoder of causal convolutions around a quantizer, which shortens a clip in time too (after the
    causal 3-D CNN of MAGVIT-2, Yu et al. 2024, section 3.2; like the VAEs of CogVideoX and Wan).

    A latent stands for a group of `time_stride` frames. Convolutions over time look back only, and norms work on each
    frame by itself, so neither tokens nor pixels depend on later groups. Where a clip is no whole number of groups, the
    first one is short: copies of the first frame fill it in the encoder, and the decoder drops as many. So a clip of
    one frame is an image, a still clip to the network, and a clip of 1 + k `time_stride` frames begins with it.

    Resolution changes by space-to-depth beside a convolution, as in `ConvImageTokenizer`, and so does the number of
    frames; a convolution over 3 x 3 x 3 is one over space and one over time (`tokenizers.causal`).

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
        self.spec = TokenSpec(
            quantizer.kind,
            quantizer.size,
            (math.ceil(frames / stride), side // patch, side // patch),
            levels=quantizer.levels,
            modality="video",
            stride=stride,
            first=(frames - 1) % stride + 1,
        )
        self.quantizer = quantizer
        steps = list(zip(times, strides, strict=True))
        self.encoder = causal_encoder(channels, width, steps, blocks, quantizer.inputs // patch**2)
        self.decoder = causal_decoder(channels, width, steps, blocks, quantizer.dim // patch**2)

    @property
    def last_layer(self) -> nn.Parameter:
        return last_weight(self.decoder)

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
