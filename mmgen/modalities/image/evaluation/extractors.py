"""What looks at images: what looks at any pictures, and the digits' own classifier."""

from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import EXTRACTORS, Extractor, Wanted, get_extractor
from mmgen.modalities.image.evaluation.classifier import FOLDER, SHAPE, digits_classifier


def _digits_cnn(wanted: Wanted) -> Extractor:
    if wanted.shape != SHAPE:
        raise UserError(
            f"extractor digits_cnn looks at samples of shape {SHAPE}, and these are {wanted.shape}; choose --extractor"
            " efflite0 or pixels"
        )
    return digits_classifier(FOLDER if wanted.cache is None else wanted.cache)


IMAGE_EXTRACTORS = {"digits_cnn": _digits_cnn} | EXTRACTORS
"""Name -> what makes it."""


def default_extractor(shape: tuple[int, ...]) -> str:
    """The extractor of images of that shape where nobody chose one: the digits' own, or that of natural images."""
    return "digits_cnn" if tuple(shape) == SHAPE else "efflite0"


def get_image_extractor(
    name: str | None,
    shape: tuple[int, ...],
    cache: Path | None = None,
    weights: str | Path | None = None,
    device: str = "cpu",
) -> Extractor:
    """As `mmgen.evaluation.extractors.get_extractor`, of `IMAGE_EXTRACTORS`; the `default_extractor` if `name` is
    None.
    """
    return get_extractor(
        default_extractor(shape) if name is None else name, shape, cache, weights, device, IMAGE_EXTRACTORS
    )
