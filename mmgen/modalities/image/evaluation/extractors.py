"""Extractors of images: those of any images, and the digits' own classifier."""

from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import EXTRACTORS, Extractor, Shape, get_extractor
from mmgen.modalities.image.evaluation.classifier import SHAPE, digits_classifier


def _digits_cnn(shape: Shape, weights: Path | None, device: str) -> Extractor:
    if shape != SHAPE:
        raise UserError(
            f"extractor digits_cnn looks at samples of shape {SHAPE}, and these are {shape}; choose --extractor"
            " efflite0 or pixels"
        )
    return digits_classifier()


IMAGE_EXTRACTORS = {"digits_cnn": _digits_cnn} | EXTRACTORS


def default_extractor(shape: Shape) -> str:
    """The extractor where none is chosen: the digits' own, or that of natural images."""
    return "digits_cnn" if tuple(shape) == SHAPE else "efflite0"


def get_image_extractor(
    name: str | None, shape: Shape, weights: str | Path | None = None, device: str = "cpu"
) -> Extractor:
    """As `mmgen.evaluation.extractors.get_extractor`; the `default_extractor` if `name` is None."""
    return get_extractor(name or default_extractor(shape), shape, weights, device, IMAGE_EXTRACTORS)
