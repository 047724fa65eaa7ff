"""Images, as the engine knows them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgen.core.modality import AppControls, Modality, PublishedTokenizer, SamplingCommand

if TYPE_CHECKING:
    from torch import Tensor

    from mmgen.data import DataModule
    from mmgen.data.sources import Source
    from mmgen.evaluation.command import EvaluationCommand
    from mmgen.page.parts import PageParts
    from mmgen.paradigms import SampleOptions
    from mmgen.sampling.preview import Preview
    from mmgen.sampling.request import SamplingRequest
    from mmgen.store.store import Loaded
    from mmgen.tokenizers import Tokenizer
    from mmgen.training.generator_module import GeneratorModule
    from mmgen.training.tokenizer_module import TokenizerModule


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
    export_options = ImageExportOptions
    sample_files = (".npz",)

    def sample(self, loaded: "Loaded", arguments: dict[str, Any]) -> SamplingCommand:
        from mmgen.modalities.image.sample_files import ImageSampling

        return ImageSampling(loaded, arguments)

    def stream(self, loaded: "Loaded", request: "SamplingRequest", every: float) -> Iterator["Preview"]:
        from mmgen.modalities.image.live import stream_image_previews

        return stream_image_previews(loaded, request, every)

    def reconstruct(self, tokenizer: "Tokenizer", files: Sequence[str], out: str, arguments: dict[str, Any]) -> None:
        from mmgen.modalities.image.reconstruction import reconstruct_images

        reconstruct_images(tokenizer, files, out, **arguments)

    def reconstruct_held_out(
        self, tokenizer: "Tokenizer", source: "Source", count: int, folder: Path
    ) -> dict[str, Any]:
        from mmgen.modalities.image.reconstruction import reconstruct_held_out_images

        return reconstruct_held_out_images(tokenizer, source, count, folder)

    def page_parts(self) -> "PageParts":
        from mmgen.modalities.image.page.sections import PARTS

        return PARTS

    def evaluation(self) -> type["EvaluationCommand"]:
        from mmgen.modalities.image.evaluation.rows import ImageEvaluation

        return ImageEvaluation

    def reconstruction_preview(self, module: "TokenizerModule", data: "DataModule", count: int) -> "Preview":
        from mmgen.modalities.image.previews import reconstruction_preview

        return reconstruction_preview(module, data, count)

    def sample_previews(
        self,
        module: "GeneratorModule",
        data: "DataModule",
        tokenizer: "Tokenizer",
        count: int,
        options: "SampleOptions",
    ) -> Iterator["Preview"]:
        from mmgen.modalities.image.previews import sample_previews

        return sample_previews(module, data, tokenizer, count, options)

    def reconstruction_metrics(
        self, tokenizer: "Tokenizer", made: "Tensor", target: "Tensor", batch: dict[str, Any]
    ) -> dict[str, "Tensor"]:
        from mmgen.media.images import psnr_db

        return {"psnr_db": psnr_db(made, target).mean()}

    def is_published(self, path: Path) -> bool:
        from mmgen.tokenizers.pretrained import library_of

        return library_of(path) == "diffusers"

    def open_published(self, path: Path, arguments: dict[str, Any]) -> tuple[Path, PublishedTokenizer]:
        from mmgen.modalities.image.tokenizers.pretrained import open_pretrained

        tokenizer = open_pretrained(path, **arguments)
        return path / tokenizer.weights, tokenizer


MODALITY = ImageModality()
