"""`mmgen shards`: images as .tar shards, for training that reads from one end of a file to the other."""

from pathlib import Path

from mmgen.core.terminal import print_safely
from mmgen.data.build import open_source
from mmgen.modalities.image.sources.tar_write import write_shards


def run(data: str, *, out: str, per_shard: int = 1000) -> None:
    """Write a data set of images as WebDataset's .tar shards: train/000000.tar, val/000000.tar, and classes.txt.

    Each sample becomes KEY.png, exactly as training without augmentation sees it, KEY.cls, its label, and
    KEY.txt, its captions. `WebDataset` as data trains on the folder; so does any other reader of WebDataset's layout.

    Args:
        data: `digits`, `emoji` or `photos`; a YAML file with a data section, such as a recipe; or a run folder.
        out: folder for the shards, made and never written over.
        per_shard: samples a shard; some hundred megabytes a shard read well.
    """
    counts = write_shards(open_source(data), Path(out), per_shard)
    written = ", ".join(
        f"{samples:,} samples of {split} in {shards} shard(s)" for split, (samples, shards) in counts.items()
    )
    print_safely(f"{out}: {written}; to train on them: --data.source WebDataset --data.source.root {out}")
