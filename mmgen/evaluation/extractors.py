"""Extractors: functions from images to the features on which sets of samples are compared.

A figure is worth no more than its extractor, so its name ends in the extractor's. Another extractor is a class with the
members of `Extractor`, in `EXTRACTORS` or in the table of a modality.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError, nearest
from mmgen.data.sources import Samples
from mmgen.evaluation.command import Metric
from mmgen.media.images import to_uint8

Shape = tuple[int, ...]


class Extractor(Protocol):
    """Images to features."""

    name: str  # stands in the name of every figure
    distance: str  # of its features: `fid`, or `fd` where it is no FID that a paper would quote
    num_features: int
    protocol: dict[str, str]  # how it resizes images, and which weights it has

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] to (B, num_features), each row on its own."""
        ...


@runtime_checkable
class Judge(Protocol):
    """An extractor that knows the classes as well."""

    classes: int
    accuracy: float  # share of held-out real samples that it classifies rightly

    def logits(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] to (B, classes)."""
        ...


class Pixels:
    """The image itself, averaged down to `side` x `side` cells: blind to what it shows, but it needs no training."""

    name = "pixels"
    distance = "fid"

    def __init__(self, channels: int, side: int = 7) -> None:
        self.channels, self.side = channels, side
        self.num_features = channels * side**2
        self.protocol = {"resize": f"averaged to {side} x {side}"}

    def __call__(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.side).flatten(1)


MakeExtractor = Callable[[Shape, Path | None, str], Extractor]
"""Shape of a sample, file of weights and device to an extractor. Raises UserError, before anything is trained, where it
cannot look at such samples.
"""


def _efflite0(shape: Shape, weights: Path | None, device: str) -> Extractor:
    from mmgen.tokenizers.losses.efflite import efflite0

    _require_image("efflite0", shape)
    return efflite0(device)


def _inception(shape: Shape, weights: Path | None, device: str) -> Extractor:
    from mmgen.evaluation.inception import WEIGHTS, Inception

    _require_image("inception", shape)
    if weights is None:
        raise UserError(f"extractor inception needs its weights: get {WEIGHTS} and name the file: --weights FILE")
    return Inception(weights, device)


def _pixels(shape: Shape, weights: Path | None, device: str) -> Extractor:
    _require_image("pixels", shape)
    return Pixels(shape[0])


EXTRACTORS: dict[str, MakeExtractor] = {"efflite0": _efflite0, "inception": _inception, "pixels": _pixels}
"""Those that can look at any images, by name."""


def get_extractor(
    name: str,
    shape: Shape,
    weights: str | Path | None = None,
    device: str = "cpu",
    table: dict[str, MakeExtractor] = EXTRACTORS,
) -> Extractor:
    """The extractor of that name in a table, trained if it has to be. Raises UserError for an unknown name, for samples
    of a shape that the extractor does not take, or weights that are missing, wrong or needless.
    """
    if name not in table:
        raise UserError(f"there is no extractor {name!r}: choose {' or '.join(table)}{nearest(name, table)}")
    if weights is not None and name != "inception":
        raise UserError(f"--weights is for --extractor inception, and this is {name}; leave it out")
    return table[name](tuple(shape), None if weights is None else Path(weights), device)


@torch.no_grad()
def extract(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """(N, num_features) float64 features, on the CPU, of batches (b, C, H, W) in [-1, 1], seen as bytes."""
    return torch.cat([extractor(as_bytes(x)).double().cpu() for x in batches])


def real_features(extractor: Extractor, samples: Samples, batch: int = 100) -> Tensor:
    """(N, num_features) float64 features of all samples."""
    return extract(extractor, (each["x"] for each in samples.batches(batch)))


def extractor_metric(metric: str, value: float, extractor: Extractor, **protocol: Any) -> Metric:
    """A metric of an extractor's features, with the extractor's name and protocol."""
    accuracy = {"extractor_accuracy": extractor.accuracy} if isinstance(extractor, Judge) else {}
    return Metric(metric, value, extractor.name, protocol | extractor.protocol | accuracy)


def as_bytes(x: Tensor) -> Tensor:
    """Images in [-1, 1] rounded to the 256 levels that a file keeps: what is measured is what would be saved."""
    return as_floats(to_uint8(x))


def as_floats(pixels: Tensor) -> Tensor:
    """Bytes to [-1, 1]."""
    return pixels.float() / 127.5 - 1


def _require_image(name: str, shape: Shape) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(f"extractor {name} looks at images (1 or 3, H, W), and these samples are {shape}")
