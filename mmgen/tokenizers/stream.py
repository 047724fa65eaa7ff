"""A clip that is coded while it arrives: chunk after chunk, each with what the chunks before left behind."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgen.errors import UserError
from mmgen.tokens import Tokens

if TYPE_CHECKING:
    from mmgen.tokenizers.video import VideoTokenizer


class TokenizerStream(ABC):
    """Encodes and decodes one batch of clips in consecutive chunks; all chunks together equal the whole clip.

    Encoding and decoding go on independently of one another. All state is here and none on the tokenizer, so that
    several streams may share it. Without gradient. A chunk that is refused leaves the stream as it was.

    The first chunk may have any number of frames, since the remainder comes first; each later one whole groups.

    Args:
        tokenizer: whose spec and checks apply.

    Attributes:
        encoded: latents along time that were made so far; 0 tells an encoder that its chunk is the first.
        decoded: latents along time that were turned to frames so far.
    """

    def __init__(self, tokenizer: "VideoTokenizer") -> None:
        self._tokenizer = tokenizer
        self._rows: dict[str, int] = {}
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
        frames, stride = x.shape[2], self._tokenizer.spec.stride
        if self.encoded and frames % stride:
            raise UserError(f"after its first chunk a stream encodes multiples of {stride} frames, got {frames}")
        self._check_rows("encodes", len(x))
        tokens = self.encode_chunk(x)
        self._rows["encodes"] = len(x)
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
        stride = self._tokenizer.spec.stride
        if self.decoded and frames % stride:
            raise UserError(f"after its first chunk a stream decodes {stride} frames a latent, got {frames} frames")
        self._check_rows("decodes", len(tokens))
        x = self.decode_chunk(tokens, frames)
        self._rows["decodes"] = len(tokens)
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

    def _check_rows(self, direction: str, rows: int) -> None:
        known = self._rows.get(direction, rows)
        if rows != known:
            raise UserError(f"this stream {direction} {known} clips at once, got {rows}; open another for others")
