"""Motion of people by way of its features, around any quantizer."""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.motion.features import feature_slices
from mmgen.modalities.motion.skeleton import skeleton_of_features
from mmgen.modalities.motion.tokenizers.networks import conv_decoder, conv_encoder, patch_decoder, patch_encoder
from mmgen.tokenizers.base import Reconstruction, TrainingData
from mmgen.tokenizers.chain import State
from mmgen.tokenizers.quantizers import Quantizer
from mmgen.tokenizers.stream import TokenizerStream
from mmgen.tokenizers.timed import TimedTokenizer

_CONSTANT = 1e-6  # standard deviation under which a feature is taken never to change


class MotionTokenizer(TimedTokenizer):
    """Autoencoder of features around a quantizer: that of T2M-GPT (Zhang et al. 2023) with `VQ`, that of MoMask (Guo et
    al. 2024) with `ResidualVQ`; `Gaussian` gives continuous tokens.

    Motions are (B, dims, T) raw features of any T >= 1 (`motion.features`), in the units they were made in. Their
    mean and standard deviation over the training data are part of the tokenizer: `adapt` takes them from the data once,
    before training, and they are saved with the weights. Inside, and in what `forward` gives, features are normalised.

    A motion that is no whole number of tokens is filled up at its end with copies of its last frame; `decode` is told
    how long it was, or gives whole tokens. Residual codes decode with fewer levels too, (B, N, q), coarser.

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
        self.spec = TokenSpec(
            quantizer.kind,
            quantizer.size,
            (-(-frames // downsample), 1, 1),
            levels=quantizer.levels,
            modality="motion",
            rate=fps / downsample,
            stride=downsample,
            first=downsample,
        )
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

    @property
    def last_layer(self) -> nn.Parameter:
        return [layer for layer in self.decoder.modules() if isinstance(layer, nn.Conv1d)][-1].get_parameter("weight")

    def adapt(self, data: TrainingData) -> None:
        """Takes mean and standard deviation from the data's training split. Does nothing if they are known already:
        weights that were trained with them need them.

        Raises:
            UserError: data that is no motion, or of other features or another rate.
        """
        if self.adapted:
            return
        found, dims = data.statistics(), self.sample_shape[0]
        if found is None:
            raise UserError(
                f"MotionTokenizer codes motions, and samples of shape {tuple(data.sample_shape)} are none: choose"
                " data of motions, such as Mocap"
            )
        mean, std = found
        if len(mean) != dims:
            raise UserError(f"the data has {len(mean)} features a frame, and the tokenizer {dims}: set tokenizer.dims")
        if data.fps != self.fps:
            raise UserError(f"the data has {data.fps:g} frames a second, the tokenizer {self.fps:g}: set both alike")
        self.mean.copy_(mean)
        self.std.copy_(std.where(std > _CONSTANT, torch.ones_like(std)))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        return _tokens(self.quantizer.encode(self.latents(self.check_samples(x), {})))

    @torch.no_grad()
    def decode(self, tokens: Tokens, frames: int | None = None) -> Tensor:
        """Inverse of `encode`, as well as it was trained: (B, dims, frames) raw features, without gradient.

        Args:
            tokens: of any number of latents along time.
            frames: of the motion, the last of its tokens perhaps being of fewer; `stride` a latent by default.

        Raises:
            UserError: tokens of another grid, out of range, or not those of so many frames; it was never adapted.
        """
        values = self.check_tokens(tokens)
        frames = self.clip_length(tokens, frames)
        return self.raw(self.features(self.quantizer.lookup(values), frames, {}))

    def forward(self, x: Tensor) -> Reconstruction:
        """x (B, dims, T) raw -> the reconstruction of its normalised features, with gradients, and these as `target`;
        among the losses `positions`. Raises UserError as `encode` does.
        """
        target = self.normalised(self.check_samples(x))
        quantized = self.quantizer(self.latents(x, {}))
        made = self.features(quantized.values, x.shape[2], {})
        joints = feature_slices(x.shape[1])["positions"]
        error = F.smooth_l1_loss(made[:, joints], target[:, joints])
        losses = quantized.losses | {"positions": self.positions * error}
        return Reconstruction(made, _tokens(quantized.indices), losses, target)

    def streaming(self) -> "MotionStream":
        if not self.causal:
            raise UserError("this MotionTokenizer looks ahead, so it codes whole motions: causal: true streams")
        return MotionStream(self)

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
        """The next frames (B, dims, T) raw -> (B, ceil(T / stride), quantizer.inputs). Writes to the state."""
        x = F.pad(self.normalised(x), (0, -x.shape[2] % self.spec.stride), mode="replicate")
        return rearrange(self.encoder(x.to(self.last_layer.dtype), state), "b c t -> b t c")

    def features(self, codes: Tensor, frames: int, state: State) -> Tensor:
        """The next codes (B, t, quantizer.dim) -> (B, dims, frames) normalised. Writes to the state."""
        codes = rearrange(codes.to(self.last_layer.dtype), "b t c -> b c t").contiguous()
        return self.decoder(codes, state)[..., :frames]

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (dims, 1) each."""
        if not self.adapted:
            raise UserError(
                "this MotionTokenizer knows no mean and deviation of its data: train it with `mmgen fit`, load one that"
                " is trained, or call adapt(data)"
            )
        return self.mean[:, None], self.std[:, None]


class MotionStream(TokenizerStream):
    """Carries the last inputs that each convolution has seen."""

    def __init__(self, tokenizer: MotionTokenizer) -> None:
        super().__init__(tokenizer)
        self._motion = tokenizer
        self._encoding: State = {}
        self._decoding: State = {}

    def encode_chunk(self, x: Tensor) -> Tokens:
        state = dict(self._encoding)
        tokens = _tokens(self._motion.quantizer.encode(self._motion.latents(x, state)))
        self._encoding = state
        return tokens

    def decode_chunk(self, tokens: Tokens, frames: int) -> Tensor:
        state, motion = dict(self._decoding), self._motion
        x = motion.raw(motion.features(motion.quantizer.lookup(tokens.values), frames, state))
        self._decoding = state
        return x


def _tokens(indices: Tensor) -> Tokens:
    """(B, t, ...) -> tokens in order of time."""
    return Tokens(indices, (indices.shape[1], 1, 1))
