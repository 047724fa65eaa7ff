"""What tokenizers of clips share: any number of frames, and streams that equal the whole."""

from abc import abstractmethod

from torch import Tensor

from mmgen.errors import UserError
from mmgen.tokenizers.base import Tokenizer
from mmgen.tokens import Tokens


class VideoTokenizer(Tokenizer):
    """Clips (B, C, T, H, W) of any T >= 1 <-> Tokens of a grid (spec.latents(T), h, w), frame groups in order of time.

    Causal: neither tokens nor pixels depend on later frames, so that the beginning of a clip, up to the border of a
    group, is coded as if it were all of it, and a clip of one frame as an image is. What `streaming` codes chunk by
    chunk therefore equals `encode` and `decode` of the whole.
    """

    @abstractmethod
    def decode(self, tokens: Tokens, frames: int | None = None) -> Tensor:
        """Inverse of `encode`, as well as it was trained: (B, C, T, H, W) in [-1, 1], without gradient.

        Args:
            tokens: of any number of latents along time.
            frames: of the clip, where its tokens leave a choice; `spec.frames(latents)` by default.

        Raises:
            UserError: tokens of another grid, out of range, or not those of so many frames.
        """

    def clip_length(self, tokens: Tokens, frames: int | None = None) -> int:
        """How many frames to decode: those asked for, or the spec's own for so many latents.
        Raises UserError where clips of so many frames have another number of latents.
        """
        latents = tokens.grid[0]
        if frames is None:
            return self.spec.frames(latents)
        if self.spec.latents(frames) != latents:
            low, high = self.spec.stride * (latents - 1) + 1, self.spec.stride * latents
            several = str(low) if low == high else f"{low} to {high}"
            raise UserError(f"{latents} latents are {several} frames to {type(self).__name__}, not {frames}")
        return frames
