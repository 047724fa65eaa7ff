"""The data module of emoji."""

from pathlib import Path
from typing import Any

from mmgen.data.base import DataModule
from mmgen.modalities.image.sources.emoji import NOTO, EmojiSource


class Emoji(DataModule):
    """Emoji of one code point each, on white (`EmojiSource`); `source.caption` names each.

    Args:
        image_size: side of a sample, in pixels.
        font: a colour bitmap font of 109 pixels, as Noto Color Emoji.
        folder: pictures named by code point, as 1f600.png, in place of a font.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for images only.
        num_workers: loading processes a device; changes no batch.
    """

    source: EmojiSource

    def __init__(
        self,
        image_size: int = 64,
        font: str = NOTO,
        folder: str | None = None,
        global_batch_size: int = 64,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(EmojiSource(image_size, font, folder), global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few pictures as `folder` wants them; returns the arguments that read them."""
        return EmojiSource.make_fake(path, samples)
