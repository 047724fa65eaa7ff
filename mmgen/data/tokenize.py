"""Encoding a whole source once, so that generators train on its tokens without the tokenizer."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.encoded import encoded_spec
from mmgen.data.sources import Batch, Samples, Source, SplitName
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.shards import CAPTIONS, COLUMNS, Columns, Meta, storage_type, write_folder
from mmgen.store.store import weights_hash
from mmgen.tokenizers import Tokenizer


def write_shards(
    out: str | Path,
    source: Source,
    tokenizer: Tokenizer,
    tokenizer_path: str | Path,
    shard_size: int = 8192,
    batch: int = 256,
    mirror: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Meta:
    """Encodes both splits of a source, without augmentation, into a new folder, on the device the tokenizer is on.

    Args:
        out: a folder that does not exist yet, or is empty.
        source: of raw samples.
        tokenizer: in eval mode.
        tokenizer_path: the run or export that it was loaded from.
        shard_size: samples a file, at most.
        batch: images encoded at a time, or frames of clips, or seconds of sound; one sample at least.
        mirror: store the mirror image of every training image too.
        progress: called after every batch with the number of samples that are done.

    Raises:
        UserError: `out` holds something or cannot be written, the tokenizer does not take such samples, or there are no
            images to mirror.
    """
    if shard_size < 1 or batch < 1:
        raise UserError(f"--shard_size and --batch must be at least 1, got {shard_size} and {batch}")
    if source.spec is not None:
        raise UserError("this data holds tokens already; --data must name raw samples")
    if mirror and len(source.sample_shape) != 3:
        raise UserError(f"--mirror is for images, and the samples have shape {tuple(source.sample_shape)}")
    together = max(1, int(batch / _size(source)))
    meta = Meta(
        facts=replace(
            source.facts,
            spec=encoded_spec(tokenizer, source, str(tokenizer_path)),
            tokenizer_path=os.path.relpath(tokenizer_path, out),
            tokenizer_hash=weights_hash(tokenizer),
        ),
        sample_shape=tuple(source.sample_shape),
        source=source.describe(),
    )
    shards: dict[SplitName, Iterator[Columns]] = {}
    done = 0
    for split in get_args(SplitName):
        samples = source.samples(split)
        if mirror and split == "train":
            samples = MirroredSamples(samples)
        shards[split] = _encoded(samples, tokenizer, shard_size, together, progress, done)
        done += len(samples)
    return write_folder(Path(out), meta, shards)


class MirroredSamples(Samples):
    """Images, and after them all of them mirrored left to right: sample -1 - i is the mirror image of sample i.

    Args:
        samples: the images.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return 2 * len(self.samples)

    @property
    def captions(self) -> Captions | None:
        """A mirror image has the captions of its image."""
        captions = self.samples.captions
        return None if captions is None else captions + captions

    def take(self, index: Tensor) -> Batch:
        batch = self.samples.take(index % len(self.samples))
        mirrored = index >= len(self.samples)
        x = torch.where(mirrored.view(-1, 1, 1, 1), batch["x"].flip(-1), batch["x"])
        return batch | {"x": x, "sample": torch.where(mirrored, -1 - batch["sample"], batch["sample"])}


def _size(source: Source) -> float:
    """Of one sample: 1 for an image, frames of a clip, seconds of a sound."""
    if source.sample_rate is not None:
        return source.sample_shape[1] / source.sample_rate
    return source.sample_shape[1] if len(source.sample_shape) == 4 else 1


def _encoded(
    samples: Samples,
    tokenizer: Tokenizer,
    shard_size: int,
    batch: int,
    progress: Callable[[int], None] | None,
    done: int,
) -> Iterator[Columns]:
    """The shards of one split, each encoded when it is needed."""
    device = next((value.device for value in tokenizer.state_dict().values()), torch.device("cpu"))
    narrow = storage_type(tokenizer.spec)
    for shard in torch.arange(len(samples)).split(shard_size):
        parts = []
        for index in shard.split(batch):
            raw = samples.take(index)
            with torch.no_grad():
                values = tokenizer.encode(raw["x"].to(device)).values
            columns = {name: raw[name] for name in COLUMNS if name in raw}
            if samples.captions is not None:
                columns[CAPTIONS] = samples.captions.choose(index).lines
            parts.append(columns | {"values": values.to("cpu", narrow)})
            if progress is not None:
                progress(done + int(index[-1]) + 1)
        yield {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
