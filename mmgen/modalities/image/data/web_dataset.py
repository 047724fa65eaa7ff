"""The data module of images in .tar shards."""

from pathlib import Path
from typing import Any, Literal

from mmgen.core.errors import UserError
from mmgen.data.base import DataModule
from mmgen.data.shard_stream import ShardStream
from mmgen.data.stream import Stream
from mmgen.modalities.image.sources.web_dataset import WebDatasetSource


class WebDataset(DataModule):
    """Images in .tar shards as WebDataset lays them out (`WebDatasetSource`), read shard by shard.

    Args:
        root: holds train/*.tar and val/*.tar; or *.tar, of which a share of the samples is held out.
        image_size: side of a sample, or [height, width].
        channels: 3 for colour, 1 for grey.
        augment: what training sees: `crop` (random place and scale, mirrored or not), `flip` (the centre, mirrored or
            not), or `none`.
        held_out: one in so many is held out, where there is no `val`.
        names: a text file with the name of a class a line; root/classes.txt by default, or the numbers.
        bad_shards: `refuse` to train where a shard is truncated or damaged, or `skip` it whole, which is told.
        window: shards whose samples are shuffled together; shards themselves are shuffled anyway.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and their augmentation.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for images only.
        num_workers: loading processes a device; changes no batch.
    """

    source: WebDatasetSource

    def __init__(
        self,
        root: str,
        image_size: int | tuple[int, int] = 256,
        channels: int = 3,
        augment: Literal["crop", "flip", "none"] = "crop",
        held_out: int = 10,
        names: str | None = None,
        bad_shards: Literal["refuse", "skip"] = "refuse",
        window: int = 16,
        global_batch_size: int = 64,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        if window < 1:
            raise UserError(f"data.window {window} must be at least 1 shard")
        source = WebDatasetSource(root, image_size, channels, augment, held_out, names, bad_shards)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)
        self.window = window

    @property
    def stream(self) -> Stream:
        """The order of training, by shards."""
        counts = self.source.listings["train"].counts
        return ShardStream(sum(counts), self.seed, counts, self.window)

    def state_dict(self) -> dict[str, int]:
        """The position in the stream, and what it means."""
        return super().state_dict() | {"window": self.window}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Kept until training begins. UserError where the order was another."""
        if state_dict.get("window") != self.window:
            raise UserError(
                f"the checkpoint was trained with data.window {state_dict.get('window')}, which orders the samples;"
                f" this run has {self.window}, so it could not go on from there: give the same"
            )
        super().load_state_dict(state_dict)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few images in the real layout; returns the arguments that read them."""
        return WebDatasetSource.make_fake(path, samples)
