"""Bits that a mode's law would take for held-out samples: paradigms of every kind on one scale.

What is measured is the negative log-likelihood of an image's tokens, or an upper bound on it (`Paradigm.likelihood`),
not that of its pixels: what the tokenizer loses costs nothing here. So figures may be compared between modes over the
same tokens, and a bound against a likelihood; not between tokenizers.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.conditions import batch_conditions
from mmgen.data.sources import Samples
from mmgen.sampling.samples import pick_mode, require_tokenizer
from mmgen.store.store import Loaded


def measure_likelihood(
    loaded: Loaded,
    mode: str | None,
    samples: Samples,
    batch: int = 100,
    draws: int = 8,
    progress: Callable[[float], None] | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Bits per image, and those per value of the raw image, with their standard errors.

    A model with classes is given each sample's class: its figure is the conditional one, of the tokens given the class.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        mode: one of `loaded.paradigm.modes()`; may be None where there is only one.
        samples: held-out images with their labels.
        batch: samples at a time; changes no figure.
        draws: estimates a sample, each with its own corruption, where the mode has a bound; a likelihood takes one.
        progress: called with the number of samples that are done.
        seed: of the corruption, with the number of the sample and that of the draw.

    Returns:
        `bits_per_image`, `bits_per_dim` (that over C x H x W), and both with `_se` behind: the standard error of the
        mean over samples, each of which is the mean over its draws. It covers the choice of samples and of draws.

    Raises:
        UserError: an unknown mode, one without a likelihood, no tokenizer, no samples, or ones of a class that the
            model does not know.
    """
    paradigm, tokenizer = pick_mode(loaded, mode), require_tokenizer(loaded)
    if not len(samples) or min(batch, draws) < 1:
        raise UserError(
            f"a likelihood needs a sample, a draw and a batch of 1 at least: got {len(samples)}, {draws} and {batch}"
        )
    device, rounds = loaded.generator.device, 1 if paradigm.likelihood == "exact" else draws
    found: list[Tensor] = []
    for each in samples.batches(batch):
        known_labels(each["label"], loaded)
        with torch.no_grad():
            tokens = tokenizer.encode(each["x"].to(device))
            given = batch_conditions(loaded.generator, each)
            condition = loaded.generator.conditions(given, len(each["label"]))
            nats = [
                paradigm.bound(loaded.generator, tokens, condition, Draws(seed, each["sample"].to(device), number))
                for number in range(rounds)
            ]
        found.append(torch.stack(nats).mean(0).cpu())
        if progress is not None:
            progress(sum(map(len, found)))
    bits = torch.cat(found).double() * loaded.spec.length / math.log(2)
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
    """The classes that the model is given: the samples' own, or none where it knows none. Raises UserError for a class
    out of range.
    """
    classes = loaded.generator.classes
    if not classes:
        return torch.full_like(labels, -1)
    if labels.max() >= classes or labels.min() < -1:
        raise UserError(f"the data has class {labels.max()}, and {loaded.path} knows classes 0 to {classes - 1}")
    return labels
