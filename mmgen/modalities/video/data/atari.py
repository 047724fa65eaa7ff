"""The data module of Atari games."""

from pathlib import Path
from typing import Any

from mmgen.data.base import DataModule
from mmgen.modalities.video.sources.atari import AtariSource


class Atari(DataModule):
    """Clips of a game with the action that led to every frame (`mmgen.modalities.video.sources.atari.AtariSource`).

    Args:
        game: its name in ale-py, such as `boxing`, `pong` or `ms_pacman`.
        frames: of a clip.
        size: side of a frame, to which the screen is scaled with antialiasing.
        channels: 3 for colour, 1 for grey.
        frame_skip: frames of the console, 60 a second, to one frame of a clip.
        hold: the fewest and the most frames of a clip that the player keeps to an action.
        clips: to train on.
        held_out: clips of the val split.
        recording_seed: keys what the player does.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and where each begins.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for clips only.
        num_workers: loading processes a device; changes no batch.
    """

    def __init__(
        self,
        game: str = "boxing",
        frames: int = 12,
        size: int = 64,
        channels: int = 3,
        frame_skip: int = 4,
        hold: tuple[int, int] = (2, 6),
        clips: int = 2000,
        held_out: int = 200,
        recording_seed: int = 0,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        source = AtariSource(game, frames, size, channels, frame_skip, hold, clips, held_out, recording_seed)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """The arguments for a short recording; nothing is on disk."""
        return AtariSource.make_fake(path, samples)
