"""Motion of people by way of its features, around any quantizer."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.modalities.motion.features import feature_slices
from mmgen.modalities.motion.skeleton import skeleton_of_features
from mmgen.tokenizers.base import Reconstruction, State, TokenizerStream, TrainingData
from mmgen.tokenizers.causal_conv import CausalConv, Chain, FrameBlock, Streamed
from mmgen.tokenizers.quantized import QuantizedTokenizer, raster
from mmgen.tokenizers.quantizers import Quantizer

_CONSTANT = 1e-6  # standard deviation under which a feature is taken never to change


class MotionTokenizer(QuantizedTokenizer):
    """Autoencoder of features around a quantizer: that of T2M-GPT (Zhang et al. 2023) with `VQ`, that of MoMask (Guo et
    al. 2024) with `ResidualVQ`; `Gaussian` gives continuous tokens.

    Motions are (B, dims, T) raw features of any T >= 1 (`motion.features`). Their mean and standard deviation over the
    training data are saved with the weights; inside, and in what `forward` gives, features are normalised. Copies of
    the last frame fill a motion up to whole tokens. Residual codes decode with fewer levels too.

    Args:
        quantizer: the bottleneck; its `dim` is the number of channels of the latents.
        dims: features a frame, 263 of HumanML3D's skeleton or 251 of KIT's.
        frames: of the motions that it is trained on; it codes any number.
        fps: frames a second of the data.
        network: `conv`, the papers' convolutions over time, half as many frames with each step; or `patch`, the frames
            of a token side by side and blocks of ConvNeXt at the rate of tokens, which begins as a linear map and
            learns in far fewer steps, from less data.
        width: channels; 512 in both papers.
        downsample: frames a token; a power of two for `conv`.
        dilations: of the residual blocks of each halving, in order; for `conv` only.
        blocks: in the encoder and again in the decoder; for `patch` only.
        causal: no token depends on frames after its own, nor a frame on later tokens, so that it streams. The papers'
            convolutions look both ways.
        positions: weight of the loss `positions`, smooth absolute error of the joints' positions beside the error of
            all features; 0.5 in both papers.

    Raises:
        UserError: sizes that are too small, or features of no skeleton.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        dims: int = 263,
        frames: int = 48,
        fps: float = 20.0,
        network: Literal["conv", "patch"] = "conv",
        width: int = 256,
        downsample: int = 4,
        dilations: tuple[int, ...] = (9, 3, 1),
        blocks: int = 2,
        causal: bool = False,
        positions: float = 0.5,
    ) -> None:
        super().__init__()
        self.skeleton = skeleton_of_features(dims)
        if min(frames, width, downsample, *dilations) < 1 or blocks < 0 or fps <= 0 or positions < 0:
            raise UserError(
                "frames, width, downsample and dilations must be at least 1, blocks and positions at least 0, fps above"
                f" 0; got {frames}, {width}, {downsample}, {tuple(dilations)}, {blocks}, {positions:g}, {fps:g}"
            )
        if network not in ("conv", "patch"):
            raise UserError(f"network must be conv or patch, got {network}")
        steps = downsample.bit_length() - 1
        if network == "conv" and downsample != 2**steps:
            raise UserError(f"downsample {downsample} is not a power of two: give 1, 2, 4, 8 ... or network: patch")
        self.fps, self.causal, self.positions = fps, causal, positions
        self.sample_shape = (dims, frames)
        kind, size, levels, grid = quantizer.kind, quantizer.size, quantizer.levels, (-(-frames // downsample), 1, 1)
        self.spec = TokenSpec(kind, size, grid, levels, "motion", fps / downsample, downsample, first=downsample)
        self.quantizer = quantizer
        if network == "conv":
            self.encoder = conv_encoder(dims, width, steps, dilations, quantizer.inputs, causal)
            self.decoder = conv_decoder(dims, width, steps, dilations, quantizer.dim, causal)
        else:
            self.encoder = patch_encoder(dims, width, downsample, blocks, quantizer.inputs, causal)
            self.decoder = patch_decoder(dims, width, downsample, blocks, quantizer.dim, causal)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("std", torch.zeros(dims))  # never 0 once it is adapted

    @property
    def adapted(self) -> bool:
        """Whether mean and standard deviation are known."""
        return bool(self.std.any())

    def adapt(self, data: TrainingData) -> None:
        """Takes mean and standard deviation from the data's training split, unless they are known already. Raises
        UserError for data that is no motion, or of other features or another rate.
        """
        if self.adapted:
            return
        statistics, dims = data.statistics(), self.sample_shape[0]
        if statistics is None:
            raise UserError(
                f"MotionTokenizer codes motions, and samples of shape {tuple(data.sample_shape)} are none: choose"
                " data of motions, such as Mocap"
            )
        mean, std = statistics
        if len(mean) != dims:
            raise UserError(f"the data has {len(mean)} features a frame, and the tokenizer {dims}: set tokenizer.dims")
        if data.fps != self.fps:
            raise UserError(f"the data has {data.fps:g} frames a second, the tokenizer {self.fps:g}: set both alike")
        self.mean.copy_(mean)
        self.std.copy_(std.where(std > _CONSTANT, torch.ones_like(std)))

    def forward(self, x: Tensor) -> Reconstruction:
        """x (B, dims, T) raw -> the reconstruction of its normalised features, with gradients, and these as `target`;
        among the losses `positions`. Raises UserError as `encode` does.
        """
        target = self.normalised(self.check_samples(x))
        quantized = self.quantizer(self.latents(x, {}))
        made = self.samples(quantized.values, x.shape[2], {})
        joints = feature_slices(x.shape[1])["positions"]
        error = F.smooth_l1_loss(made[:, joints], target[:, joints])
        losses = quantized.losses | {"positions": self.positions * error}
        return Reconstruction(made, raster(quantized.indices), losses, target)

    def streaming(self) -> TokenizerStream:
        if not self.causal:
            raise UserError("this MotionTokenizer looks ahead, so it codes whole motions: causal: true streams")
        return super().streaming()

    def check_samples(self, x: Tensor) -> Tensor:
        dims = self.sample_shape[0]
        if x.ndim == 3 and x.shape[1] != dims:
            raise UserError(
                f"this MotionTokenizer takes (batch, {dims} features, frames) of {self.skeleton.name}'s skeleton, got"
                f" {tuple(x.shape)}: give motions of that skeleton, or train one with other dims"
            )
        return super().check_samples(x)

    def normalised(self, x: Tensor) -> Tensor:
        """x (B, dims, T) raw -> of mean 0, and of standard deviation 1 over each group of features."""
        mean, std = self._statistics()
        return (x - mean) / std

    def raw(self, x: Tensor) -> Tensor:
        """Inverse of `normalised`."""
        mean, std = self._statistics()
        return x.to(std.dtype) * std + mean

    def latents(self, x: Tensor, state: State) -> Tensor:
        x = F.pad(self.normalised(x), (0, -x.shape[2] % self.spec.stride), mode="replicate")
        return rearrange(self.encoder(x.to(self.last_layer.dtype), state), "b c t -> b t 1 1 c")

    def samples(self, codes: Tensor, length: int, state: State) -> Tensor:
        """Normalised features (B, dims, length)."""
        codes = rearrange(codes.to(self.last_layer.dtype), "b t 1 1 c -> b c t").contiguous()
        return self.decoder(codes, state)[..., :length]

    def bounded(self, x: Tensor) -> Tensor:
        """Raw features of normalised ones, which have no bounds."""
        return self.raw(x)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (dims, 1) each."""
        if not self.adapted:
            raise UserError(
                "this MotionTokenizer knows no mean and deviation of its data: train it with `mmgen fit`, load one that"
                " is trained, or call adapt(data)"
            )
        return self.mean[:, None], self.std[:, None]


def conv_encoder(dims: int, width: int, steps: int, dilations: Sequence[int], out: int, causal: bool) -> Chain:
    """(b, dims, t 2^steps) -> (b, out, t); each step halves the frames, and a block for each dilation follows it."""
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
    """(b, dims, t frames) -> (b, out, t), frames becoming channels; linear at first, as the blocks are the identity."""
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
