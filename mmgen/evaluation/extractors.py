"""What looks at samples: a function from images to features, on which sets of samples are compared.

A figure is worth no more than its extractor, so every figure's name holds its name. Another one is a class with these
members and a line in `EXTRACTORS`, or in the table of the modality whose samples alone it can look at.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError, nearest
from mmgen.media.images import to_uint8


class Extractor(Protocol):
    """Images to features.

    Attributes:
        name: stands in the name of every figure.
        distance: name of the Fréchet distance of its features, one of `METRICS`: `fid`, or `fd` where
            it is no FID that a paper would quote.
        num_features: length of a feature vector.
        protocol: what the protocol of a figure says of it: how it resizes images, which weights it has.
    """

    name: str
    distance: str
    num_features: int
    protocol: dict[str, str]

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] to (B, num_features), each row on its own."""
        ...


@runtime_checkable
class Judge(Protocol):
    """An extractor that knows the classes as well.

    Attributes:
        classes: how many.
        accuracy: share of held-out real samples whose class it names: how far it can be trusted itself.
    """

    classes: int
    accuracy: float

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


@dataclass(frozen=True)
class Wanted:
    """What an extractor is made for.

    Args:
        shape: of a sample.
        cache: folder to keep a trained one in; None for its usual place.
        weights: file of weights, for those that mmgen does not bring.
        device: where it may run.
    """

    shape: tuple[int, ...]
    cache: Path | None = None
    weights: Path | None = None
    device: str = "cpu"


Extractors = dict[str, Callable[[Wanted], Extractor]]
"""Name -> what makes it. It raises UserError, before anything is trained, where it cannot look at such samples."""


def _pixels(wanted: Wanted) -> Extractor:
    _require_image("pixels", wanted.shape)
    return Pixels(wanted.shape[0])


def _efflite0(wanted: Wanted) -> Extractor:
    from mmgen.tokenizers.losses.efflite import efflite0

    _require_image("efflite0", wanted.shape)
    return efflite0(wanted.device)


def _inception(wanted: Wanted) -> Extractor:
    from mmgen.evaluation.inception import WEIGHTS, Inception

    _require_image("inception", wanted.shape)
    if wanted.weights is None:
        raise UserError(f"extractor inception needs its weights: get {WEIGHTS} and name the file: --weights FILE")
    return Inception(wanted.weights, wanted.device)


EXTRACTORS: Extractors = {
    "efflite0": _efflite0,
    "inception": _inception,
    "pixels": _pixels,
}
"""Those that can look at any pictures."""


def get_extractor(
    name: str,
    shape: tuple[int, ...],
    cache: Path | None = None,
    weights: str | Path | None = None,
    device: str = "cpu",
    extractors: Extractors | None = None,
) -> Extractor:
    """The extractor of that name, trained if it has to be.

    Args:
        name: of `extractors`.
        shape: of the samples that it will be shown.
        cache: folder to keep what was trained in; the usual place by default.
        weights: file of weights, for `inception`.
        device: where it may run.
        extractors: to choose from; `EXTRACTORS` by default.

    Raises:
        UserError: an unknown name, or one that cannot look at such samples, or weights that are missing, wrong or
            needless.
    """
    known = EXTRACTORS if extractors is None else extractors
    if name not in known:
        raise UserError(f"there is no extractor {name!r}: choose {' or '.join(known)}{nearest(name, known)}")
    if weights is not None and name != "inception":
        raise UserError(f"--weights is for --extractor inception, and this is {name}; leave it out")
    return known[name](Wanted(tuple(shape), cache, None if weights is None else Path(weights), device))


@torch.no_grad()
def extract(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """(N, num_features) float64 features, on the CPU, of batches (b, C, H, W) in [-1, 1], seen as bytes."""
    return torch.cat([extractor(as_bytes(x)).double().cpu() for x in batches])


def as_bytes(x: Tensor) -> Tensor:
    """Images in [-1, 1] rounded to the 256 levels that a file keeps: what is measured is what would be saved."""
    return as_floats(to_uint8(x))


def as_floats(pixels: Tensor) -> Tensor:
    """Bytes to [-1, 1]."""
    return pixels.float() / 127.5 - 1


def _require_image(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(f"extractor {name} looks at images (1 or 3, H, W), and these samples are {shape}")
