"""Writing .tar shards as WebDataset lays them out."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from mmgen.core.errors import UserError, import_optional
from mmgen.data.sources.base import Samples, Source, SplitName
from mmgen.media.folders import whole_folder
from mmgen.media.images import png_bytes

NAMES = "classes.txt"
"""File of the names of classes, in the folder of the splits."""

Counts = dict[str, tuple[int, int]]
"""Split -> samples and shards."""


def write_shards(source: Source, out: Path, per_shard: int) -> Counts:
    """Write both splits of images as shards, without loss, into a new folder that is complete when it appears.

    Args:
        source: of images.
        out: a folder that does not exist yet, or is empty.
        per_shard: samples a shard.

    Raises:
        UserError: samples are no images, or `out` holds something, or a sample cannot be read.
    """
    if len(source.sample_shape) != 3 or source.sample_shape[0] not in (1, 3):
        raise UserError(f"shards are of images, and these samples have shape {tuple(source.sample_shape)}")
    if per_shard < 1:
        raise UserError(f"--per_shard {per_shard} must be at least 1")
    for name in source.class_names:
        if name.strip() != name or not name.isprintable():
            raise UserError(f"class {name!r} cannot be written: {NAMES} has the name of a class a line; rename it")
    counts: Counts = {}
    with whole_folder(out) as partial:
        for split in get_args(SplitName):
            shards = write_split(partial / split, _images(source.samples(split)), per_shard)
            counts[split] = (len(source.samples(split)), shards)
        if source.class_names:
            (partial / NAMES).write_text("".join(f"{name}\n" for name in source.class_names), encoding="utf-8")
    return counts


def write_split(folder: Path, images: Iterable[tuple[Tensor, int, list[str]]], per_shard: int) -> int:
    """Write images (C, H, W) in [-1, 1] with their labels, negative for none, and captions; the number of shards."""
    webdataset = import_optional("webdataset", "writing shards needs", "webdataset", "stream")
    folder.mkdir(parents=True, exist_ok=True)
    options = {"maxcount": per_shard, "maxsize": 2**40, "verbose": 0, "mtime": 0.0}
    with webdataset.ShardWriter(f"{folder}/%06d.tar", **options) as writer:
        for number, (image, label, captions) in enumerate(images):
            sample: dict[str, Any] = {"__key__": f"{number:09d}", "png": png_bytes(image)}
            sample |= {} if label < 0 else {"cls": str(label).encode()}
            writer.write(sample | ({"txt": "\n".join(captions).encode()} if captions else {}))
    return sum(1 for _ in folder.glob("*.tar"))


def _images(samples: Samples) -> Iterator[tuple[Tensor, int, list[str]]]:
    for index in torch.arange(len(samples)).split(64):
        batch = samples.take(index)
        captions = [[] if samples.captions is None else samples.captions.all(place) for place in index.tolist()]
        yield from zip(batch["x"], batch["label"].tolist(), captions, strict=True)
