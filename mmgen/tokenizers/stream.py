"""A clip that is coded while it arrives: chunk after chunk, each with what the chunks before left behind."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec


class StreamedTokenizer(Protocol):
    """What a stream asks of its tokenizer (`mmgen.tokenizers.timed.TimedTokenizer`)."""

    spec: TokenSpec

    def check_samples(self, x: Tensor) -> Tensor:
        """x, if the tokenizer takes such samples. Raises UserError otherwise."""
        ...

    def check_tokens(self, tokens: Tokens) -> Tensor:
        """The values of tokens, if they are this tokenizer's. Raises UserError otherwise."""
        ...

    def clip_length(self, tokens: Tokens, length: int | None = None) -> int:
        """How many frames or samples tokens are decoded to. Raises UserError for a length that does not fit."""
        ...


class TokenizerStream(ABC):
    """Encodes and decodes one batch of clips in consecutive chunks; all chunks together equal the whole clip.

    Encoding and decoding go on independently of one another. All state is here and none on the tokenizer, so that
    several streams may share it. Without gradient. A chunk that is refused leaves the stream as it was.

    A video's first chunk may have any number of frames, since its remainder comes first; each later one whole groups.
    A chunk of a sound or a motion that is no whole number of tokens, which is filled up to encode it and cropped when
    it is decoded, is the last of its direction: what came after it would have another clock.

    Args:
        tokenizer: whose spec and checks apply.

    Attributes:
        encoded: latents along time that were made so far; 0 tells an encoder that its chunk is the first.
        decoded: latents along time that were turned to frames so far.
    """

    def __init__(self, tokenizer: StreamedTokenizer) -> None:
        self._tokenizer = tokenizer
        self._last: dict[str, tuple[int, int]] = {}  # clips at once and length of the last chunk of each direction
        self.encoded = self.decoded = 0

    @torch.inference_mode(False)  # state that was made under inference mode could not be written outside it
    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        """The next frames (B, C, t, H, W) in [-1, 1] -> their tokens, of grid (latents, h, w).

        Raises:
            UserError: as the tokenizer's `encode` does, for a later chunk of frames that are no whole groups, and for
                another number of clips than before.
        """
        x = self._tokenizer.check_samples(x)
        self._admit("encodes", len(x), x.shape[2])
        tokens = self.encode_chunk(x)
        self._last["encodes"] = len(x), x.shape[2]
        self.encoded += tokens.grid[0]
        return tokens

    @torch.inference_mode(False)
    @torch.no_grad()
    def decode(self, tokens: Tokens, frames: int | None = None) -> Tensor:
        """The next tokens, of any number of latents along time -> their frames (B, C, t, H, W) in [-1, 1].

        Args:
            tokens: of grid (latents, h, w).
            frames: that they stand for. By default `spec.frames(latents)` in the first chunk, in a later one `stride` a
                latent, which is the only number that it can have.

        Raises:
            UserError: as the tokenizer's `decode` does, and for another number of clips than before.
        """
        self._tokenizer.check_tokens(tokens)
        if self.decoded and frames is None:
            frames = self._tokenizer.spec.stride * tokens.grid[0]
        frames = self._tokenizer.clip_length(tokens, frames)
        self._admit("decodes", len(tokens), frames)
        x = self.decode_chunk(tokens, frames)
        self._last["decodes"] = len(tokens), frames
        self.decoded += tokens.grid[0]
        return x

    @abstractmethod
    def encode_chunk(self, x: Tensor) -> Tokens:
        """The body of `encode`: x (B, C, t, H, W) is checked; `encoded` still counts the chunks before."""

    @abstractmethod
    def decode_chunk(self, tokens: Tokens, frames: int) -> Tensor:
        """The body of `decode`: tokens and their number of frames are checked; `decoded` still counts the chunks
        before. Returns (B, C, frames, H, W) in [-1, 1].
        """

    def finish(self) -> Tokens | None:
        """The tokens that wait for what comes after the last chunk; None for a stream in which none ever wait."""
        return None

    def check_length(self, direction: str, before: int | None, length: int) -> None:
        """Raises UserError where a chunk of this length cannot come next.

        Args:
            direction: `encodes` or `decodes`.
            before: frames of the last chunk; None if this is the first.
            length: frames of this one.
        """
        spec, stride = self._tokenizer.spec, self._tokenizer.spec.stride
        if spec.fills_end:
            if before is not None and before % stride:
                ended = f"it ended with {before} {spec.unit}, no multiple of {stride}"
                raise UserError(f"this stream {direction} no more: {ended}")
        elif before is not None and length % stride:
            what = f"multiples of {stride} frames" if direction == "encodes" else f"{stride} frames a latent"
            raise UserError(f"after its first chunk a stream {direction} {what}, got {length} frames")

    def _admit(self, direction: str, rows: int, length: int) -> None:
        known, before = self._last.get(direction, (rows, None))
        if rows != known:
            raise UserError(f"this stream {direction} {known} clips at once, got {rows}; open another for others")
        self.check_length(direction, before, length)
