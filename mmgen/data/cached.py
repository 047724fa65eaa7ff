"""The data module of tokens that were encoded once."""

from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.data.base import DataModule
from mmgen.data.sources import CachedTokensSource
from mmgen.store.store import weights_hash
from mmgen.tokenizers import Tokenizer


class CachedTokens(DataModule):
    """Tokens from `mmgen tokenize`. Training does not need the tokenizer, which is loaded only to look at samples.

    Args:
        path: the folder that `mmgen tokenize` wrote.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples.
        num_workers: loading processes a device; changes no batch.
    """

    source: CachedTokensSource

    def __init__(self, path: str, global_batch_size: int = 64, seed: int = 0, num_workers: int = 0) -> None:
        source = CachedTokensSource(path)
        tokenizer = source.tokenizer_path
        if tokenizer is not None and tokenizer.is_relative_to(Path.cwd()):
            tokenizer = tokenizer.relative_to(Path.cwd())  # as a person would write it
        named = None if tokenizer is None else str(tokenizer)
        super().__init__(source, global_batch_size, seed, named, num_workers)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that made the tokens, loaded on first use; None where it is no longer there.

        Raises:
            UserError: it has been trained anew, so that it would decode these tokens wrongly.
        """
        if self.tokenizer_path is None or not Path(self.tokenizer_path).is_dir():
            return None
        fresh = self._tokenizer is None
        tokenizer = super().tokenizer
        if fresh and tokenizer is not None and weights_hash(tokenizer) != self.source.meta.facts.tokenizer_hash:
            self._tokenizer = None
            raise UserError(
                f"tokenizer {self.tokenizer_path} has changed since it made the tokens in {self.source.path}:"
                " run mmgen tokenize again"
            )
        return tokenizer

    @property
    def tokenizer_hash(self) -> str | None:
        """Hash of the weights that made the tokens, whether or not they are still there."""
        return self.source.meta.facts.tokenizer_hash

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few samples in the real format; returns the arguments that read them."""
        return CachedTokensSource.make_fake(path, samples)
