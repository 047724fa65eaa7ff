"""The contract of tokenizers and of their streams, and the checks that turn a wrong input into one clear line."""

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.modality import find_modality
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.tokenizers.quantizers.base import NotFinite

State = dict[nn.Module, Any]
"""What each layer keeps of its last inputs; empty before the first chunk of a stream."""

_ROUNDING = 1e-2  # half precision and resampling may leave [-1, 1] by this much


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What training a tokenizer needs.

    Args:
        x: (B, *sample_shape) reconstruction, not clamped, so that an excess still has a gradient.
        tokens: the codes between.
        losses: the bottleneck's named scalars, and the tokenizer's own, already weighted.
        target: what `x` reconstructs, of its shape, where that is not the samples themselves but what is made of them,
            such as a spectrogram; None for the samples.
    """

    x: Tensor
    tokens: Tokens
    losses: dict[str, Tensor]
    target: Tensor | None = None


class TrainingData(Protocol):
    """What a tokenizer may ask of the data that it is trained on.

    Attributes:
        sample_shape: shape of one raw sample.
        fps: frames a second; None where samples have none.
    """

    sample_shape: tuple[int, ...]
    fps: float | None

    def statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation (D,) of each feature over the training split; None where there are no
        features.
        """
        ...


class Tokenizer(nn.Module, ABC):
    """Raw samples in [-1, 1] <-> Tokens.

    `decode(encode(x))` has x's shape and lies in [-1, 1]. Both are deterministic and leave the tokenizer as it was, in
    training mode too: only `forward` trains. The features of a motion have units of their own, and any finite values.
    `sample_shape` and `spec.grid` are of the clips that it is trained on; it codes any length (`TimedTokenizer`).
    """

    spec: TokenSpec
    sample_shape: tuple[int, ...]

    @abstractmethod
    def encode(self, x: Tensor) -> Tokens:
        """x (B, *sample_shape) in [-1, 1] -> tokens, without gradient. Raises UserError on another shape or range."""

    @abstractmethod
    def decode(self, tokens: Tokens) -> Tensor:
        """Inverse of `encode`, as well as it was trained: (B, *sample_shape) in [-1, 1], without gradient.
        Raises UserError on tokens of another grid, or out of range."""

    @abstractmethod
    def forward(self, x: Tensor) -> Reconstruction:
        """x (B, *sample_shape) in [-1, 1] -> reconstruction, with gradients. Raises UserError as `encode` does."""

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last convolution or linear map, at which an adversarial loss is balanced against the
        others (Esser et al. 2021, equation 7). Raises UserError where the decoder is not trained here.
        """
        raise UserError(f"{type(self).__name__} names no last layer, so its losses cannot be balanced by gradients")

    def adapt(self, data: TrainingData) -> None:
        """Takes from the data what is not learned by gradients, once, before training: as a rule nothing. Raises
        UserError for data that it is not made for.
        """

    def streaming(self) -> "TokenizerStream":
        """A coder of one batch of clips that arrive in chunks. Raises UserError where later frames change earlier
        tokens, or where there are no frames.
        """
        raise UserError(f"{type(self).__name__} codes whole samples only: streaming needs a causal tokenizer of clips")

    def check_samples(self, x: Tensor) -> Tensor:
        """x, if it is what this tokenizer was made for; clips of any length. In training, NaN and infinity go through,
        so that their step is skipped; otherwise NotFinite is raised for them.
        """
        wanted, unit = list[int | str](self.sample_shape), self.spec.unit
        if unit is not None:
            wanted[1] = unit
        shape = ", ".join(map(str, wanted))
        modality = find_modality(self.spec.modality)
        bounded = modality is None or modality.bounded
        kind = "in [-1, 1]" if bounded else "without NaN or infinity"
        expected = f"{type(self).__name__} expects float samples of shape (batch, {shape}) {kind}"
        if x.ndim != 1 + len(wanted) or any(n not in (m, unit) for n, m in zip(wanted, x.shape[1:], strict=True)):
            raise UserError(f"{expected}, got shape {tuple(x.shape)}")
        if not x.is_floating_point():
            raise UserError(f"{expected}, got {x.dtype}{'; for 8-bit data use x / 127.5 - 1' if bounded else ''}")
        if not x.numel():
            raise UserError(f"{expected}, got {'an empty batch' if not len(x) else f'clips of no {unit}'}")
        low, high = torch.stack(torch.aminmax(x.detach())).tolist()  # one read of the device; NaN comes through
        limit = 1 + _ROUNDING if bounded else sys.float_info.max
        if not math.isfinite(low) or not math.isfinite(high):
            if self.training:
                return x
            raise NotFinite(f"{expected}, got values from {low:g} to {high:g}")
        if not -limit <= low <= high <= limit:
            raise UserError(f"{expected}, got values from {low:g} to {high:g}")
        return x

    def check_tokens(self, tokens: Tokens) -> Tensor:
        """The values of tokens, if they are this tokenizer's, of any number of latents along time; residual codes of
        sound and motion may have fewer levels.
        """
        name, spec, values = type(self).__name__, self.spec, tokens.values
        grid, timed = tuple(tokens.grid), spec.unit is not None
        if grid != tuple(spec.grid) and not (timed and grid[1:] == tuple(spec.grid[1:]) and grid[0] > 0):
            wanted = f"(latents, {spec.grid[1]}, {spec.grid[2]})" if timed else spec.grid
            raise UserError(f"{name} decodes a token grid of {wanted}, got {tokens.grid}")
        levels = range(1, spec.levels + 1) if spec.fills_end else [spec.levels]
        inner = {"residual": [(n,) for n in levels], "continuous": [(spec.size,)]}.get(spec.kind, [()])
        if tuple(values.shape[2:]) not in inner:
            wide = [", ".join(map(str, ("batch", math.prod(grid), *each))) for each in inner]
            shapes = " to ".join(f"({each})" for each in dict.fromkeys((wide[0], wide[-1])))
            raise UserError(f"{name} decodes tokens of shape {shapes}, got {tuple(values.shape)}")
        if spec.kind == "continuous" and not (values.is_floating_point() and values.isfinite().all()):
            wrong = "NaN or infinity" if values.is_floating_point() else str(values.dtype)
            raise UserError(f"{name} decodes finite floats, got {wrong}; did the generator diverge?")
        return values


class TimedTokenizer(Tokenizer):
    """Clips (B, C, T, ...) of any T >= 1 <-> Tokens of a grid (spec.latents(T), h, w), latents in order of time.

    A causal one codes the beginning of a clip, up to the end of a group of frames, as if it were the whole, a video of
    one frame as an image, and a stream of chunks as the whole clip.
    """

    @abstractmethod
    def decode(self, tokens: Tokens, length: int | None = None) -> Tensor:
        """Inverse of `encode`, as well as it was trained: (B, C, length, ...), without gradient.

        Args:
            tokens: of any number of latents along time; residual codes of sound and motion perhaps of fewer levels,
                which are coarser.
            length: frames or samples of the clip, where its tokens leave a choice; `spec.frames(latents)` by default.

        Raises:
            UserError: tokens of another grid, out of range, or not those of that length.
        """

    def clip_length(self, tokens: Tokens, length: int | None = None) -> int:
        """How many frames or samples to decode: `length`, or the spec's own for so many latents.
        Raises UserError where clips of that length have another number of latents.
        """
        latents, spec = tokens.grid[0], self.spec
        if length is None:
            return spec.frames(latents)
        if spec.latents(length) != latents:
            low, high = spec.stride * (latents - 1) + 1, spec.stride * latents
            lengths = str(low) if low == high else f"{low} to {high}"
            raise UserError(f"{latents} latents are {lengths} {spec.unit} to {type(self).__name__}, not {length}")
        return length


class TokenizerStream(ABC):
    """Encodes and decodes one batch of clips in consecutive chunks; all chunks together equal the whole clip.

    The two directions are independent. All state is here, so that several streams may share a tokenizer. Without
    gradient. A chunk that is refused leaves the stream as it was.

    A video's first chunk may have any number of frames, since its remainder comes first; each later one whole groups.
    A chunk of a sound or a motion that is no whole number of tokens is the last of its direction.

    Args:
        tokenizer: whose spec and checks apply.

    Attributes:
        encoded: latents along time that were made so far; 0 tells an encoder that its chunk is the first.
        decoded: latents along time that were turned to frames so far.
    """

    def __init__(self, tokenizer: TimedTokenizer) -> None:
        self._tokenizer = tokenizer
        self._last: dict[str, tuple[int, int]] = {}  # clips at once and length of the last chunk of each direction
        self.encoded = self.decoded = 0

    @torch.inference_mode(False)  # state that was made under inference mode could not be written outside it
    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        """The next frames (B, C, t, ...) -> their tokens, of grid (latents, h, w). Raises UserError as the tokenizer's
        `encode` does, for a later chunk of frames that are no whole groups, or of another number of clips.
        """
        x = self._tokenizer.check_samples(x)
        self._admit("encodes", len(x), x.shape[2])
        tokens = self.encode_chunk(x)
        self._last["encodes"] = len(x), x.shape[2]
        self.encoded += tokens.grid[0]
        return tokens

    @torch.inference_mode(False)
    @torch.no_grad()
    def decode(self, tokens: Tokens, length: int | None = None) -> Tensor:
        """The next tokens, of any number of latents along time -> their frames (B, C, length, ...).

        Args:
            tokens: of grid (latents, h, w).
            length: frames or samples that they stand for; by default `spec.frames(latents)` in the first chunk,
                `stride` a latent in a later one.

        Raises:
            UserError: as the tokenizer's `decode` does, and for another number of clips than before.
        """
        self._tokenizer.check_tokens(tokens)
        if self.decoded and length is None:
            length = self._tokenizer.spec.stride * tokens.grid[0]
        length = self._tokenizer.clip_length(tokens, length)
        self._admit("decodes", len(tokens), length)
        x = self.decode_chunk(tokens, length)
        self._last["decodes"] = len(tokens), length
        self.decoded += tokens.grid[0]
        return x

    @abstractmethod
    def encode_chunk(self, x: Tensor) -> Tokens:
        """The body of `encode`: x is checked; `encoded` still counts the chunks before."""

    @abstractmethod
    def decode_chunk(self, tokens: Tokens, length: int) -> Tensor:
        """The body of `decode`: tokens and their length are checked; `decoded` still counts the chunks before."""

    def finish(self) -> Tokens | None:
        """The tokens that wait for what comes after the last chunk; None for a stream in which none ever wait."""
        return None

    def _admit(self, direction: str, rows: int, length: int) -> None:
        """Raises UserError where a chunk of so many clips and of this length cannot come next."""
        clips, before = self._last.get(direction, (rows, None))
        if rows != clips:
            raise UserError(f"this stream {direction} {clips} clips at once, got {rows}; open another for others")
        spec, stride = self._tokenizer.spec, self._tokenizer.spec.stride
        if spec.fills_end:
            if before is not None and before % stride:
                end = f"it ended with {before} {spec.unit}, no multiple of {stride}"
                raise UserError(f"this stream {direction} no more: {end}")
        elif before is not None and length % stride:
            what = f"multiples of {stride} frames" if direction == "encodes" else f"{stride} frames a latent"
            raise UserError(f"after its first chunk a stream {direction} {what}, got {length} frames")
