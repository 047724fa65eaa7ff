"""The data module of recorded motions."""

from pathlib import Path
from typing import Any

from mmgen.data.base import DataModule
from mmgen.modalities.motion.sources.mocap import MocapSource


class Mocap(DataModule):
    """Windows of the recorded motions that come with PyBullet, with their actions as classes
    (`mmgen.modalities.motion.sources.mocap.MocapSource`), drawn anew in every epoch of training.

    Args:
        frames: of the longest sample.
        fps: frames a second.
        speed: the slowest and the fastest that training samples are played, 1 for as recorded.
        clips: training samples that count as one epoch.
        held_out: share of each clip's time that is held out, at its end.
        mixed: share of the training samples whose limbs come from several clips, as a tokenizer wants.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and what they show.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for motions only.
        num_workers: loading processes a device; changes no batch.
        folder: a folder with clips of the same form, `humanoid3d_*.txt`, in place of PyBullet's.
    """

    def __init__(
        self,
        frames: int = 48,
        fps: float = 20.0,
        speed: tuple[float, float] = (0.85, 1.18),
        clips: int = 4000,
        held_out: float = 0.25,
        mixed: float = 0.0,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
        folder: str | None = None,
    ) -> None:
        source = MocapSource(frames, fps, speed, clips, held_out, mixed, folder)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes two clips of the real form; returns the arguments that read them."""
        return MocapSource.make_fake(path, samples)
