"""Metrics of tokenizers and generators of images."""

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.coding import code_metrics, reconstruct
from mmgen.evaluation.command import Metric, ModeSampling, Report, cost_metrics
from mmgen.evaluation.extractors import Extractor, Judge, as_floats, extract, extractor_metric, real_features
from mmgen.evaluation.metrics import (
    NEIGHBOURS,
    class_accuracy,
    decibel,
    fid,
    kid,
    precision_recall,
    squared_errors,
    ssim,
)
from mmgen.media.images import to_uint8
from mmgen.modalities.image.sampling import ImageSamples, sample_images
from mmgen.sampling.samples import SamplingTask, class_labels
from mmgen.tokenizers import Tokenizer


def measure_tokenizer(
    tokenizer: Tokenizer,
    samples: Samples,
    extractor: Extractor | None = None,
    batch: int = 100,
    progress: Progress | None = None,
) -> Report[Tensor]:
    """Metrics of reconstructions, rounded to bytes as they would be saved: (N, C, H, W) uint8 in the report.

    `psnr_db` is that of the mean squared error over all images, never more than the mean of the images' own PSNRs,
    which papers also give; `ssim` is the mean over images. An extractor adds `rfid` (`rfd`), the distance between the
    images and their reconstructions. Continuous tokens have no bits and no codes.

    Raises:
        UserError: too few or too small images.
    """
    require_samples(len(samples))
    pixels, codes, errors, similarity = [], [], [], []
    for each, decoded, values in reconstruct(tokenizer, samples, batch, progress):
        pixels.append(to_uint8(decoded))
        codes.append(values)
        errors.append(squared_errors(as_floats(pixels[-1]), each["x"]))
        similarity.append(ssim(as_floats(pixels[-1]), each["x"]))
    metrics = [
        Metric("psnr_db", decibel(torch.cat(errors).mean()).item()),
        Metric("ssim", torch.cat(similarity).mean().item()),
        *code_metrics(tokenizer, codes, Metric("bits_per_image", tokenizer.spec.bits_per_sample)),
    ]
    if extractor is not None:
        distance = fid(real_features(extractor, samples, batch), extract(extractor, map(as_floats, pixels)))
        metrics.insert(0, extractor_metric(f"r{extractor.distance}", distance, extractor))
    return Report(metrics, torch.cat(pixels))


def measure_mode(sampling: ModeSampling, real: Tensor, extractor: Extractor, num: int = 1000) -> Report[ImageSamples]:
    """Draw `num` samples, of all classes in turn, and compare them with the features (M, F) of real ones, from
    `real_features`. A `Judge` of as many classes as the generator's adds `class_accuracy`.

    Raises:
        UserError: as `mmgen.modalities.image.sampling.sample_images`, and for too few samples to compare.
    """
    loaded, labels = sampling.loaded, class_labels([], num, sampling.loaded)
    task = mode_task(sampling, num)
    made, classes = sample_images(task), len(loaded.generator.names("class"))
    metrics = compare(real, to_uint8(made.images), labels, extractor, classes, sampling.seed, sampling.batch)
    metrics += cost_metrics(made, Metric("seconds_per_sample", made.seconds / num))
    return Report(metrics, made, made.steps)


@torch.no_grad()
def compare(
    real: Tensor, pixels: Tensor, labels: Tensor, extractor: Extractor, classes: int, seed: int = 0, batch: int = 100
) -> list[Metric]:
    """Metrics of images (N, C, H, W) uint8 against the features (M, F) of real ones. A `Judge` of as many `classes`
    tells whether images show those of `labels` (N,). Raises UserError for too few images to compare.
    """
    require_samples(min(len(real), len(pixels)))
    fake = extract(extractor, map(as_floats, pixels.split(batch)))
    precision, recall = precision_recall(real, fake)
    values = {extractor.distance: fid(real, fake), "kid": kid(real, fake, seed), "precision": precision}
    values["recall"] = recall
    if classes and isinstance(extractor, Judge) and extractor.classes == classes:
        logits = torch.cat([extractor.logits(as_floats(x)) for x in pixels.split(batch)])
        values = {"class_accuracy": class_accuracy(logits, labels)} | values
    return [extractor_metric(name, value, extractor) for name, value in values.items()]


def mode_task(sampling: ModeSampling, num: int) -> SamplingTask:
    """The samples that `measure_mode` draws; raises its errors before anything is run."""
    task = sampling.task({"class": class_labels([], num, sampling.loaded)})
    require_samples(num)
    return task


def check_shapes(tokenizer: Tokenizer, shape: tuple[int, ...]) -> None:
    """Raises UserError unless the data, of samples of that shape, is what the tokenizer was made for."""
    if tuple(tokenizer.sample_shape) != tuple(shape):
        shapes = f"{tuple(tokenizer.sample_shape)}, and the data has {tuple(shape)}"
        raise UserError(f"the tokenizer takes samples of shape {shapes}; choose other --data")


def require_samples(count: int) -> None:
    """Raises UserError where there are too few to compare sets."""
    if count <= NEIGHBOURS:
        raise UserError(
            f"sets of at least {NEIGHBOURS + 1} samples are compared (k-th neighbours), and here are {count}"
        )
