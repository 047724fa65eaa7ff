"""Bits that a mode's law takes for held-out samples: paradigms of every kind on one scale.

It is the negative log-likelihood of an image's tokens, or an upper bound on it (`Paradigm.likelihood`), not that of its
pixels: what the tokenizer loses costs nothing. So figures may be compared between modes over the same tokens, and a
bound against a likelihood; not between tokenizers.
"""

import math

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.progress import Progress, progress_bar
from mmgen.data.conditions import batch_conditions
from mmgen.data.sources import Samples
from mmgen.evaluation.command import Metric, Rows, metric_rows
from mmgen.evaluation.reference import Reference
from mmgen.sampling.samples import pick_mode, require_tokenizer
from mmgen.store.store import Loaded

DRAWS = 8
"""Corruptions a sample, over which a bound on its likelihood is averaged."""


def modes_with_likelihood(loaded: Loaded, modes: list[str], wanted: bool) -> list[str]:
    """Those of the modes that have one; none unless it is wanted. Raises UserError where it is wanted and none has."""
    likely = [each for each in modes if wanted and loaded.paradigm.modes()[each].likelihood is not None]
    if wanted and not likely:
        raise UserError(f"--likelihood: {loaded.path} has none in mode {' or '.join(modes)}; leave it out")
    return likely


def likelihood_rows(loaded: Loaded, modes: list[str], reference: Reference, batch: int) -> Rows:
    """`bits_per_dim`, and `bits_per_image` or `bits_per_frame`, of each mode; no option of sampling enters them."""
    whole, measured, frames = "bits_per_image", "uint8 images", 1
    if len(reference.sample_shape) == 4:
        whole, measured, frames = "bits_per_frame", "uint8 clips", reference.sample_shape[1]
    tokens = "of the tokens given the class" if "class" in loaded.generator.conditions else "of the tokens"
    tokens += " and the actions" if "actions" in loaded.generator.conditions else ""
    rows: Rows = []
    for mode in modes:
        with progress_bar(f"likelihood: {mode}", len(reference)) as progress:
            bits = measure_likelihood(loaded, mode, reference, batch, DRAWS, progress)
        exact = loaded.paradigm.modes()[mode].likelihood == "exact"
        law = f"{tokens}, exact" if exact else f"{tokens}, an upper bound, the mean of {DRAWS} draws a sample"
        metrics = [
            Metric(name, bits[key] / share, protocol={"standard_error": float(f"{bits[f'{key}_se'] / share:.3g}")})
            for name, key, share in (("bits_per_dim", "bits_per_dim", 1), (whole, "bits_per_image", frames))
        ]
        how = {"likelihood": law}
        rows += metric_rows(
            metrics, reference, loaded.generator, measured, how, samples=len(reference), seed=0, mode=mode
        )
    return rows


def measure_likelihood(
    loaded: Loaded,
    mode: str | None,
    samples: Samples,
    batch: int = 100,
    draws: int = DRAWS,
    progress: Progress | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Bits per image, and those per value of the raw image, with their standard errors.

    A model with classes is given each sample's class: its figure is the conditional one, of the tokens given the class.

    Args:
        loaded: everything runs on the device its generator is on.
        mode: one of `loaded.paradigm.modes()`; may be None where there is only one.
        samples: held-out images with their labels.
        batch: samples at a time; changes no figure.
        draws: corruptions a sample, of a bound; an exact likelihood takes one.
        progress: called with the number of samples that are done.
        seed: of the corruption, with the number of the sample and that of the draw.

    Returns:
        `bits_per_image`, `bits_per_dim` (that over C x H x W), and both with `_se` behind: the standard error of the
        mean over samples, each of which is the mean over its draws. It covers the choice of samples and of draws.

    Raises:
        UserError: an unknown mode, one without a likelihood, no tokenizer, no samples, or samples of an unknown class.
    """
    paradigm, tokenizer = pick_mode(loaded, mode), require_tokenizer(loaded)
    if not len(samples) or min(batch, draws) < 1:
        raise UserError(
            f"a likelihood needs a sample, a draw and a batch of 1 at least: got {len(samples)}, {draws} and {batch}"
        )
    device, rounds = loaded.generator.device, 1 if paradigm.likelihood == "exact" else draws
    parts: list[Tensor] = []
    for each in samples.batches(batch):
        known_labels(each["label"], loaded)
        with torch.no_grad():
            tokens = tokenizer.encode(each["x"].to(device))
            condition = loaded.generator.conditions(batch_conditions(loaded.generator, each), len(each["label"]))
            nats = [
                paradigm.bound(loaded.generator, tokens, condition, Draws(seed, each["sample"].to(device), number))
                for number in range(rounds)
            ]
        parts.append(torch.stack(nats).mean(0).cpu())
        if progress is not None:
            progress(sum(map(len, parts)))
    bits = torch.cat(parts).double() * loaded.spec.length / math.log(2)
    if not bool(bits.isfinite().all()):
        raise UserError(
            f"mode {mode!r} of {loaded.path} yields no finite likelihood on this data; were its weights NaN?"
        )
    mean, error = bits.mean().item(), bits.std(correction=min(1, len(bits) - 1)).item() / math.sqrt(len(bits))
    values = math.prod(tokenizer.sample_shape)
    return {
        "bits_per_image": mean,
        "bits_per_image_se": error,
        "bits_per_dim": mean / values,
        "bits_per_dim_se": error / values,
    }


def known_labels(labels: Tensor, loaded: Loaded) -> Tensor:
    """The samples' classes, or -1 for a model without classes. Raises UserError for a class out of range."""
    classes = len(loaded.generator.names("class"))
    if not classes:
        return torch.full_like(labels, -1)
    if labels.max() >= classes or labels.min() < -1:
        raise UserError(f"the data has class {labels.max()}, and {loaded.path} knows classes 0 to {classes - 1}")
    return labels
