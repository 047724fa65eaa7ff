"""The data module of motions with captions in a folder."""

from pathlib import Path
from typing import Any, Literal

from mmgen.data.base import DataModule
from mmgen.modalities.motion.sources.humanml3d import HumanML3DSource


class HumanML3D(DataModule):
    """Motions with captions, laid out as HumanML3D or KIT-ML are (`HumanML3DSource`).

    Args:
        root: holds new_joint_vecs/NAME.npy or new_joints/NAME.npy, texts/NAME.txt, train.txt and val.txt.
        frames: of the longest sample. Longer motions are cut, anywhere in training; shorter ones end in a still pose.
        least: frames of the shortest motion that is used; KIT-ML is published with 24.
        fps: frames a second of the files; null for 20, or KIT-ML's 12.5 for motions of its skeleton.
        captions: read them too; without them, motions need none, and are used whole.
        alphabet: the characters of a caption; null for those that captions hold, in lower case.
        max_text: characters of the longest caption; null for the longest there is.
        held_out: the list of the held-out motions, `val` or `test`.
        cache: folder to keep in what looking through the folder has found; null for the user's cache.
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, where they begin, and which caption they have.
        tokenizer: run or export folder of a trained tokenizer, whose tokens batches then hold; None for motions only.
        num_workers: loading processes a device; changes no batch.
    """

    def __init__(
        self,
        root: str,
        frames: int = 196,
        least: int = 40,
        fps: float | None = None,
        captions: bool = True,
        alphabet: str | None = None,
        max_text: int | None = None,
        held_out: Literal["val", "test"] = "val",
        cache: str | None = None,
        global_batch_size: int = 16,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        source = HumanML3DSource(root, frames, least, fps, captions, alphabet, max_text, held_out, cache)
        super().__init__(source, global_batch_size, seed, tokenizer, num_workers)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes a few motions in the real layout; returns the arguments that read them."""
        return HumanML3DSource.make_fake(path, samples)
