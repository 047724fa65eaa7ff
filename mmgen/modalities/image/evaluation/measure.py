"""Figures of a tokenizer and of a generator's modes, as plain numbers: what `mmgen evaluate` and the demo share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.extractors import Extractor, Judge, as_floats, extract
from mmgen.evaluation.metrics import (
    NEIGHBOURS,
    Reconstruction,
    class_accuracy,
    code_figures,
    fid,
    kid,
    precision_recall,
)
from mmgen.media.images import to_uint8
from mmgen.modalities.image.sampling import ImageSamples, sample_images
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import check_request, class_labels, pick_mode, tokens_per_forward
from mmgen.store.results import metric_name
from mmgen.store.store import Loaded
from mmgen.tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class TokenizerReport:
    """What a tokenizer keeps of held-out images.

    Args:
        figures: full metric name -> value.
        pixels: (N, C, H, W) uint8, every image encoded and decoded again, in order.
    """

    figures: dict[str, float]
    pixels: Tensor

    @property
    def decoded(self) -> Tensor:
        """The same in [-1, 1]."""
        return as_floats(self.pixels)


@dataclass(frozen=True, eq=False)
class ModeReport:
    """What one way of sampling yields.

    Args:
        mode: its name.
        figures: full metric name -> value.
        sampled: the samples, and the steps, passes and seconds that they took.
        labels: (N,) int64, the classes that were asked for; -1 for none.
        judged: (N,) bool, whether the judge sees that class; None where there is no judge of these classes.
    """

    mode: str
    figures: dict[str, float]
    sampled: ImageSamples
    labels: Tensor
    judged: Tensor | None


@torch.no_grad()
def measure_tokenizer(
    tokenizer: Tokenizer,
    samples: Samples,
    extractor: Extractor | None = None,
    batch: int = 100,
    progress: Progress | None = None,
) -> TokenizerReport:
    """Encode and decode all samples; what comes out is rounded to bytes, as it would be saved.

    `bits_per_image` and how much of the codebook is used are left out for continuous tokens, which have neither.

    Args:
        tokenizer: in evaluation mode; it runs on the device it is on.
        samples: held out, images in [-1, 1].
        extractor: adds `rfid` (`rfd`), the distance between the images and their reconstructions.
        batch: samples at a time; changes nothing.
        progress: called with the number of samples that are done.

    Raises:
        UserError: too few or too small images.
    """
    device = next(tokenizer.parameters()).device
    require_samples(len(samples))
    discrete = tokenizer.spec.kind != "continuous"
    pairs, pixels, codes, done = Reconstruction(), [], [], 0
    for originals in _images(samples, batch):
        tokens = tokenizer.encode(originals.to(device))
        pixels.append(to_uint8(tokenizer.decode(tokens)))
        pairs.update(as_floats(pixels[-1]), originals)
        if discrete:
            codes.append(tokens.values.cpu())
        if progress is not None:
            progress(done := done + len(originals))
    figures = {"psnr_db": pairs.psnr_db(), "ssim": pairs.ssim()}
    if discrete:
        figures["bits_per_image"] = tokenizer.spec.bits_per_sample
        figures |= code_figures(torch.cat(codes), tokenizer.spec)
    report = TokenizerReport(figures, torch.cat(pixels))
    if extractor is not None:
        real = extract(extractor, _images(samples, batch))
        distance = fid(real, extract(extractor, map(as_floats, report.pixels.split(batch))))
        figures[metric_name(f"r{extractor.distance}", extractor.name)] = distance
    return report


def measure_mode(
    loaded: Loaded,
    mode: str,
    real: Tensor,
    extractor: Extractor,
    num: int = 1000,
    options: SampleOptions | None = None,
    seed: int = 0,
    batch: int = 100,
    progress: Progress | None = None,
) -> ModeReport:
    """Draw samples of all classes in turn and compare them with real ones.

    Args:
        loaded: from `mmgen.store.store.load_generator`; it runs on the device it is on.
        mode: one of `loaded.paradigm.modes()`.
        real: (M, F) features of held-out images, from `real_features`.
        extractor: which made them. A `Judge` of as many classes as the generator's tells whether samples show theirs.
        num: samples; sample i is of class i modulo the classes.
        options: steps, guidance and decoding; the default ones if None.
        seed: with a sample's number, the key of its randomness.
        batch: samples at a time; changes no sample, but `seconds_per_sample`: wall clock a sample, with decoding.
        progress: called with the number of samples that are done.

    Raises:
        UserError: as `mmgen.modalities.image.sampling.sample_images`, and for too few samples to compare.
    """
    options = options or SampleOptions()
    labels = check_mode(loaded, mode, num, options, batch)
    require_samples(len(real))
    sampled = sample_images(loaded, mode, labels, options, seed, batch=batch, progress=progress)
    pixels = to_uint8(sampled.images)
    figures, judged = compare(real, pixels, labels, extractor, loaded.generator.classes, seed, batch)
    figures |= {
        "forward_passes": float(sampled.forward_passes),
        "tokens_per_forward": tokens_per_forward(sampled.tokens.shape[1], sampled.forward_passes),
        "seconds_per_sample": sampled.seconds / num,
    }
    return ModeReport(mode, figures, sampled, labels, judged)


@torch.no_grad()
def compare(
    real: Tensor, pixels: Tensor, labels: Tensor, extractor: Extractor, classes: int, seed: int = 0, batch: int = 100
) -> tuple[dict[str, float], Tensor | None]:
    """The figures of images beside real ones.

    Args:
        real: (M, F) features, from `real_features`.
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64 classes that they should show.
        extractor: which made the features. A `Judge` of as many classes tells whether images show theirs.
        classes: how many the images may be of; 0 for none.
        seed: of KID's subsets.
        batch: images at a time; changes nothing.

    Returns:
        Full metric name -> value, and (N,) bool, whether the judge sees the class; None where there is no such judge.

    Raises:
        UserError: too few images to compare.
    """
    require_samples(min(len(real), len(pixels)))
    fake = extract(extractor, map(as_floats, pixels.split(batch)))
    precision, recall = precision_recall(real, fake)
    on_features = {
        extractor.distance: fid(real, fake),
        "kid": kid(real, fake, seed),
        "precision": precision,
        "recall": recall,
    }
    judged = None
    if classes and isinstance(extractor, Judge) and extractor.classes == classes:
        logits = torch.cat([extractor.logits(as_floats(x)) for x in pixels.split(batch)])
        judged = logits.argmax(1) == labels
        on_features = {"class_accuracy": class_accuracy(logits, labels)} | on_features
    return {metric_name(name, extractor.name): value for name, value in on_features.items()}, judged


def check_mode(loaded: Loaded, mode: str, num: int, options: SampleOptions, batch: int) -> Tensor:
    """(num,) int64 labels of the samples that `measure_mode` draws; all its errors, before anything is run."""
    pick_mode(loaded, mode)
    labels = class_labels([], num, loaded)
    check_request(loaded, labels, options, batch)
    require_samples(num)
    return labels


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


def real_features(extractor: Extractor, samples: Samples, batch: int = 100) -> Tensor:
    """(N, F) float64 features of all samples: the set that every mode is compared with."""
    return extract(extractor, _images(samples, batch))


def _images(samples: Samples, batch: int) -> Iterator[Tensor]:
    return (each["x"] for each in samples.batches(batch))
