"""The real samples that others are compared with, and the hash by which anybody can tell whether they are the same."""

import hashlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from mmgen.data.sources import Batch, Samples, Source
from mmgen.data.sources.captions import Captions
from mmgen.media.audio import to_int16
from mmgen.media.images import to_uint8


class Chosen(Samples):
    """The samples of `index` (n,) int64; all for None."""

    def __init__(self, samples: Samples, index: Tensor | None = None) -> None:
        self.samples, self.index = samples, index

    def __len__(self) -> int:
        return len(self.samples if self.index is None else self.index)

    def take(self, index: Tensor) -> Batch:
        return self.samples.take(self._numbers(index))

    @property
    def captions(self) -> Captions | None:
        captions = self.samples.captions
        return captions if captions is None or self.index is None else captions.choose(self.index)

    def texts(self, index: Tensor) -> list[str]:
        return self.samples.texts(self._numbers(index))

    def _numbers(self, index: Tensor) -> Tensor:
        return index if self.index is None else self.index[index]


class Reference(Chosen):
    """Real samples with their name and the hash of their content, which is taken while they are first read through.

    Args:
        samples: real ones.
        data: their name; with the split it is what a figure's `data` says.
        split: `val`; empty for a file.
        crop: how they were cut to size.
        shape: of one of them.
        classes: how many they have; 0 where that is unknown or none.
        sample_rate: of sounds, in Hz; None where they are none.
        feature_fps: frames a second of features of any range; None where samples lie in [-1, 1].
    """

    def __init__(
        self,
        samples: Samples,
        data: str,
        split: str,
        crop: str,
        shape: tuple[int, ...],
        classes: int = 0,
        sample_rate: int | None = None,
        feature_fps: float | None = None,
    ) -> None:
        super().__init__(samples)
        self.data, self.split, self.crop = data, split, crop
        self.sample_shape, self.classes = tuple(shape), classes
        self.sample_rate, self.feature_fps = sample_rate, feature_fps
        self._hash: str | None = None

    @classmethod
    def held_out(cls, source: Source, samples: Samples | int | None = None) -> "Reference":
        """Held-out samples of a source: all, the first so many, or the given ones."""
        if not isinstance(samples, Samples):
            count, samples = samples, source.samples("val")
            samples = samples if count is None or count >= len(samples) else Chosen(samples, torch.arange(count))
        fps = None if source.bounded else source.fps
        about = (source.crop, source.sample_shape, source.classes, source.sample_rate, fps)
        return cls(samples, data_name(source), "val", *about)

    @property
    def name(self) -> str:
        """Data and split."""
        return f"{self.data} {self.split}".strip()

    def batches(self, size: int) -> Iterator[Batch]:
        if self._hash is not None:
            yield from self.samples.batches(size)
            return
        content = hashlib.sha256()
        for batch in self.samples.batches(size):
            content.update(rearrange(self._stored(batch["x"]), "n c ... -> n ... c").contiguous().numpy().tobytes())
            yield batch
        self._hash = content.hexdigest()[:16]

    @property
    def hash(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of all pixels, bytes in the order (N, H, W, C), of clips
        (N, T, H, W, C); of sounds, of 16-bit samples (N, T), with the silence that fills them up; of features of any
        range, in thousandths as 32-bit numbers (N, T, D), with the frames that fill them up.
        """
        if self._hash is None:
            for _ in self.batches(100):
                pass
        assert self._hash is not None
        return self._hash

    def _stored(self, x: Tensor) -> Tensor:
        """The numbers that a file would keep."""
        if self.feature_fps is not None:
            return (1000 * x).round().to(torch.int32)
        return to_uint8(x) if self.sample_rate is None else to_int16(x)

    def about(self) -> dict[str, Any]:
        """What a protocol says of it."""
        split = {"split": self.split} if self.split else {}
        more: dict[str, Any] = {"frames": self.sample_shape[1]} if len(self.sample_shape) == 4 else {}
        if self.sample_rate is not None:
            more = {"seconds": self.sample_shape[1] / self.sample_rate, "sample_rate": self.sample_rate}
        if self.feature_fps is not None:
            more = {"frames": self.sample_shape[1], "fps": self.feature_fps}
        return {"data": self.data, **split, "count": len(self), **more, "sha256": self.hash}


def data_name(source: Source) -> str:
    """`digits`, with what differs from the default data."""
    parameters = inspect.signature(type(source).__init__).parameters
    defaults = {
        name: list(each.default) if isinstance(each.default, tuple) else each.default
        for name, each in parameters.items()
    }
    changed = [
        f" {name}={value}"
        for name, value in source.arguments.items()
        if value is not None and not (name in defaults and str(defaults[name]) == str(value))
    ]
    return f"{type(source).__name__.lower()}{''.join(changed)}"
