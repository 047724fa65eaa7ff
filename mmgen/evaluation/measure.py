"""Figures of a tokenizer and of a generator's modes, as plain numbers: what `mmgen evaluate` and the demo share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.data.sources import Samples, Source
from mmgen.errors import UserError
from mmgen.evaluation.extractors import Extractor, Judge, extract
from mmgen.evaluation.metrics import (
    NEIGHBOURS,
    Reconstruction,
    class_accuracy,
    code_figures,
    fid,
    kid,
    precision_recall,
)
from mmgen.paradigms import SampleOptions
from mmgen.results import metric_name
from mmgen.sampling import Sampled, check_request, class_labels, pick_mode, sample_images
from mmgen.store import Loaded
from mmgen.tokenizers import Tokenizer

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class TokenizerReport:
    """What a tokenizer keeps of held-out images.

    Args:
        figures: full metric name -> value.
        decoded: (N, C, H, W) in [-1, 1], every image encoded and decoded again, in order.
    """

    figures: dict[str, float]
    decoded: Tensor


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
    sampled: Sampled
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
    """Encode and decode all samples.

    Args:
        tokenizer: in evaluation mode; it runs on the device it is on.
        samples: held out, images in [-1, 1].
        extractor: adds `rfid`, the distance between the images and their reconstructions.
        batch: samples at a time; changes nothing.
        progress: called with the number of samples that are done.

    Raises:
        UserError: too few or too small images.
    """
    device = next(tokenizer.parameters()).device
    require_samples(len(samples))
    pairs, decoded, codes = Reconstruction(), [], []
    for originals in _images(samples, batch):
        tokens = tokenizer.encode(originals.to(device))
        decoded.append(tokenizer.decode(tokens).float().cpu())
        codes.append(tokens.values.cpu())
        pairs.update(decoded[-1], originals)
        if progress is not None:
            progress(sum(map(len, decoded)))
    figures = {"psnr_db": pairs.psnr_db(), "ssim": pairs.ssim(), "bits_per_image": tokenizer.spec.bits_per_sample}
    figures |= code_figures(torch.cat(codes), tokenizer.spec)
    if extractor is not None:
        figures[metric_name("rfid", extractor.name)] = fid(
            extract(extractor, _images(samples, batch)), extract(extractor, decoded)
        )
    return TokenizerReport(figures, torch.cat(decoded))


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
        loaded: from `mmgen.store.load_generator`; it runs on the device it is on.
        mode: one of `loaded.paradigm.modes()`.
        real: (M, F) features of held-out images, from `real_features`.
        extractor: which made them. A `Judge` of as many classes as the generator's tells whether samples show theirs.
        num: samples; sample i is of class i modulo the classes.
        options: steps, guidance and decoding; the default ones if None.
        seed: with a sample's number, the key of its randomness.
        batch: samples at a time; changes no sample, but `seconds_per_sample`: wall clock a sample, with decoding.
        progress: called with the number of samples that are done.

    Raises:
        UserError: as `mmgen.sampling.sample_images`, and for too few samples to compare.
    """
    options = options or SampleOptions()
    labels = check_mode(loaded, mode, num, options, batch)
    require_samples(len(real))
    sampled = sample_images(loaded, mode, labels, options, seed, batch=batch, progress=progress)
    fake = extract(extractor, sampled.images.split(batch))
    precision, recall = precision_recall(real, fake)
    on_features = {"fid": fid(real, fake), "kid": kid(real, fake, seed), "precision": precision, "recall": recall}
    judged = None
    if loaded.generator.classes and isinstance(extractor, Judge) and extractor.classes == loaded.generator.classes:
        logits = torch.cat([extractor.logits(x).detach() for x in sampled.images.split(batch)])
        judged = logits.argmax(1) == labels
        on_features = {"class_accuracy": class_accuracy(logits, labels)} | on_features
    figures = {metric_name(name, extractor.name): value for name, value in on_features.items()}
    figures |= {"forward_passes": float(sampled.forward_passes), "seconds_per_sample": sampled.seconds / num}
    return ModeReport(mode, figures, sampled, labels, judged)


def check_mode(loaded: Loaded, mode: str, num: int, options: SampleOptions, batch: int) -> Tensor:
    """(num,) int64 labels of the samples that `measure_mode` draws; all its errors, before anything is run."""
    pick_mode(loaded, mode)
    labels = class_labels([], num, loaded)
    check_request(loaded, labels, options, batch)
    require_samples(num)
    return labels


def check_shapes(tokenizer: Tokenizer, source: Source) -> None:
    """Raises UserError unless the data is what the tokenizer was made for."""
    if tuple(tokenizer.sample_shape) != tuple(source.sample_shape):
        shapes = f"{tuple(tokenizer.sample_shape)}, and the data has {tuple(source.sample_shape)}"
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
