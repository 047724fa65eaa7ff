"""What tokenizers of clips share: any number of frames, and streams that equal the whole."""

from abc import abstractmethod

from torch import Tensor

from mmgen.core.tokens import Tokens
from mmgen.tokenizers.timed import TimedTokenizer


class VideoTokenizer(TimedTokenizer):
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
