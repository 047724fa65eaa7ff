"""The data module of images in folders."""

from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from mmgen.data.base import DataModule
from mmgen.modalities.image.sources.image_folder import ImageFolderSource


class ImageFolder(DataModule):
    """Images in folders, laid out as ImageNet is (`mmgen.modalities.image.sources.image_folder.ImageFolderSource`).

    Args:
        root: holds train/CLASS/* and val/CLASS/*; or CLASS/*, or images without classes, of which a share is held out.
        image_size: side of a sample, or [height, width].
        channels: 3 for colour, 1 for grey.
        augment: what training sees: `crop` (random place and scale, mirrored or not), `flip` (the centre, mirrored or
            not), or `none`.
        held_out: one in so many is held out, where there is no `val`.
        names: a text file with a line for each class: the name of its folder, a space, the name to show.
        buckets: shapes [height, width] of about equal area, image_size among them: only images whose aspect ratio is
            nearest to image_size's are taken, and what each bucket holds and crops is printed.
        check: open every file once before training, to count and skip unreadable ones.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and their augmentation.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for images only.
        num_workers: loading processes a device; changes no batch.
    """

    source: ImageFolderSource

    def __init__(
        self,
        root: str,
        image_size: int | tuple[int, int] = 256,
        channels: int = 3,
        augment: Literal["crop", "flip", "none"] = "crop",
        held_out: int = 10,
        names: str | None = None,
        buckets: list[tuple[int, int]] | None = None,
        check: bool = True,
        global_batch_size: int = 64,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        source = ImageFolderSource(root, image_size, channels, augment, held_out, names, buckets, check)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    def setup(self, stage: str) -> None:
        """As every data module; and prints what the buckets hold."""
        super().setup(stage)
        report = self.source.bucket_report() if stage == "fit" else None
        if report is not None and self.trainer is not None and self.trainer.is_global_zero:
            Console().print(report)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few images in the real layout; returns the arguments that read them."""
        return ImageFolderSource.make_fake(path, samples)
