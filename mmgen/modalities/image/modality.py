"""Images, as the engine knows them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mmgen.core.modality import AppControls, Modality

if TYPE_CHECKING:
    from torch import Tensor

    from mmgen.tokenizers import Tokenizer


@dataclass(frozen=True)
class ImageSampleOptions:
    """Options of `mmgen sample` for images.

    Args:
        text: what each sample is to show, of a run that reads captions; @FILE has one a line. Several are taken in
            turn.
        inpaint: inpainting source: file of which a region is preserved, while the rest is generated.
        keep_region: rows and columns of the token grid that are preserved, such as 0:4 or 0:4,2:6 or :,0:3; goes with
            `inpaint`.
        resize: fit the inpainting source to the size of the model.
        film: write film.safetensors too, the states of the sampler for `mmgen report`, and animation.gif.
        judge: let the classifier that `mmgen evaluate` uses see each image, and record the class that it names.
        npz: write samples.npz too, the images and their classes in ADM's form, for its evaluator and `mmgen evaluate`.
    """

    text: list[str] | None = None
    inpaint: str | None = None
    keep_region: str | None = None
    resize: bool = False
    film: bool = False
    judge: bool = False
    npz: bool = False


@dataclass(frozen=True)
class ImageReconstructOptions:
    """Options of `mmgen reconstruct` for images.

    Args:
        resize: fit images of another size instead of refusing them.
    """

    resize: bool = False


@dataclass(frozen=True)
class ImageEvaluateOptions:
    """Options of `mmgen evaluate` for images.

    Args:
        reference: images to compare with in the place of `data`, as a file of the form of samples.npz.
        extractor: network whose features are compared: digits_cnn (trained on first use, kept in
            runs/classifier-digits), efflite0 (EfficientNet-Lite0 of ImageNet), inception (needs `weights`) or pixels;
            by default digits_cnn for digits, and efflite0 for others.
        weights: file of Inception's weights, as torch-fidelity has them.
        codecs: of a tokenizer: measure JPEG and WebP on the same images too, at the same number of bits.
        likelihood: of a generator: measure bits per dimension of the held-out samples too, in the modes that have a
            likelihood.
        npz: file for the samples (of a tokenizer: the reconstructions) in ADM's form, made and never written over.
    """

    reference: str | None = None
    extractor: str | None = None
    weights: str | None = None
    codecs: bool = False
    likelihood: bool = False
    npz: str | None = None


@dataclass(frozen=True)
class ImageExportOptions:
    """Options of `mmgen export` for autoencoders of diffusers.

    Args:
        image_size: height and width that the autoencoder takes; by default what its config says.
        patch: its latents a token in each direction.
    """

    image_size: int | None = None
    patch: int = 1


class ImageModality(Modality):
    """Images (C, H, W) in [-1, 1]."""

    name = "image"
    plural = "images"
    package = __package__
    preview_count = 20
    app = AppControls(count=16)
    sample_options = ImageSampleOptions
    reconstruct_options = ImageReconstructOptions
    evaluate_options = ImageEvaluateOptions
    commands: ClassVar = {"shards": "write images as .tar shards, for training that streams them"}
    export_options = ImageExportOptions
    library = "diffusers"
    sample_files = (".npz",)

    def reconstruction_metrics(
        self, tokenizer: "Tokenizer", made: "Tensor", target: "Tensor", batch: dict[str, Any]
    ) -> dict[str, "Tensor"]:
        from mmgen.media.images import psnr_db

        return {"psnr_db": psnr_db(made, target).mean()}


MODALITY = ImageModality()
