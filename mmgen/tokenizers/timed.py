"""What tokenizers of clips share, of pictures or of sound: their length is the clip's, not the tokenizer's."""

from abc import abstractmethod

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.tokenizers.base import Tokenizer


class TimedTokenizer(Tokenizer):
    """Clips (B, C, T, ...) of any T >= 1 <-> Tokens of a grid (spec.latents(T), h, w), latents in order of time."""

    @abstractmethod
    def decode(self, tokens: Tokens, length: int | None = None) -> Tensor:
        """Inverse of `encode`, as well as it was trained, of clips of so many frames or samples; by default
        `spec.frames(latents)`. Raises UserError on tokens of another grid, out of range, or not those of that length.
        """

    def clip_length(self, tokens: Tokens, length: int | None = None) -> int:
        """How many frames or samples to decode: those asked for, or the spec's own for so many latents.
        Raises UserError where clips of that length have another number of latents.
        """
        latents, spec = tokens.grid[0], self.spec
        if length is None:
            return spec.frames(latents)
        if spec.latents(length) != latents:
            low, high = spec.stride * (latents - 1) + 1, spec.stride * latents
            several = str(low) if low == high else f"{low} to {high}"
            raise UserError(f"{latents} latents are {several} {spec.unit} to {type(self).__name__}, not {length}")
        return length
