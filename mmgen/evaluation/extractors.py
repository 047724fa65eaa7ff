"""What looks at samples: a function from images to features, on which sets of samples are compared.

A figure is worth no more than its extractor, so every figure's name holds its name. Another one is a class with these
three members and a line in `EXTRACTORS`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.errors import UserError, nearest


class Extractor(Protocol):
    """Images to features.

    Attributes:
        name: stands in the name of every figure.
        num_features: length of a feature vector.
    """

    name: str
    num_features: int

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

    def __init__(self, channels: int, side: int = 7) -> None:
        self.channels, self.side = channels, side
        self.num_features = channels * side**2

    def __call__(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.side).flatten(1)


def _digits_cnn(shape: tuple[int, ...], cache: Path | None) -> Extractor:
    from mmgen.evaluation.classifier import FOLDER, SHAPE, digits_classifier

    if shape != SHAPE:
        raise UserError(
            f"extractor digits_cnn looks at samples of shape {SHAPE}, and these are {shape}; choose --extractor pixels"
        )
    return digits_classifier(FOLDER if cache is None else cache)


def _pixels(shape: tuple[int, ...], cache: Path | None) -> Extractor:
    if len(shape) != 3:
        raise UserError(f"extractor pixels looks at images (C, H, W), and these samples are {shape}")
    return Pixels(shape[0])


EXTRACTORS: dict[str, Callable[[tuple[int, ...], Path | None], Extractor]] = {
    "digits_cnn": _digits_cnn,
    "pixels": _pixels,
}
"""Name -> what makes it, from the shape of a sample and the folder to keep a trained one in (None for its usual place).

It raises UserError, before anything is trained, where it cannot look at such samples."""


def get_extractor(name: str, shape: tuple[int, ...], cache: Path | None = None) -> Extractor:
    """The extractor of that name, trained if it has to be.

    Args:
        name: of `EXTRACTORS`.
        shape: of the samples that it will be shown.
        cache: folder to keep what was trained in; the usual place by default.

    Raises:
        UserError: an unknown name, or one that cannot look at such samples.
    """
    if name not in EXTRACTORS:
        raise UserError(f"there is no extractor {name!r}: choose {' or '.join(EXTRACTORS)}{nearest(name, EXTRACTORS)}")
    return EXTRACTORS[name](shape, cache)


@torch.no_grad()
def extract(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """(N, num_features) float64 features, on the CPU, of batches (b, C, H, W) in [-1, 1]."""
    return torch.cat([extractor(x).double().cpu() for x in batches])
