"""The data module of videos in folders."""

from pathlib import Path
from typing import Any, Literal

from mmgen.data.base import DataModule
from mmgen.modalities.video.sources.video_folder import VideoFolderSource


class VideoFolder(DataModule):
    """Videos in folders, laid out as UCF-101 or Kinetics is (`VideoFolderSource`).

    Args:
        root: holds train/CLASS/* and val/CLASS/*; or CLASS/*, or videos without classes, of which the lists or a share
            are held out.
        frames: of a clip.
        size: side of a frame, or [height, width].
        channels: 3 for colour, 1 for grey.
        fps: frames a second of a clip, whatever those of the files.
        augment: what training sees: `crop` (a random stretch of the video, a random place and scale, mirrored or not),
            `flip` (a random stretch, the centre, mirrored or not), `start` (a random stretch, the centre), or `none`
            (the middle of the video, the centre).
        held_out: one in so many is held out, where there are neither `val` nor lists.
        names: a text file with a line for each class: the name of its folder, a space, the name to show.
        train_list: a text file with lines CLASS/NAME, relative to root, as UCF-101's trainlist01.txt.
        val_list: the same for validation; both or none.
        check: open every file once before training, to count and skip those that cannot be used.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and their augmentation.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for clips only.
        num_workers: loading processes a device; changes no batch.
    """

    def __init__(
        self,
        root: str,
        frames: int = 16,
        size: int | tuple[int, int] = 64,
        channels: int = 3,
        fps: float = 8.0,
        augment: Literal["crop", "flip", "start", "none"] = "crop",
        held_out: int = 10,
        names: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        check: bool = True,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        source = VideoFolderSource(
            root, frames, size, channels, fps, augment, held_out, names, train_list, val_list, check
        )
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few videos in the real layout; returns the arguments that read them."""
        return VideoFolderSource.make_fake(path, samples)
