"""Held-out samples from all over a split."""

import math
from itertools import count as count_up

import torch
from torch import Tensor

from mmgen.data.sources import Batch, Samples, Source

_GOLDEN = (5**0.5 - 1) / 2


def held_out_clips(samples: Samples, count: int) -> Batch:
    """`count` samples from all over a split, as `all_over` chooses them."""
    return samples.take(all_over(len(samples), count))


def all_over(size: int, count: int) -> Tensor:
    """(count,) int64 numbers of samples from all over a split of so many; the i-th always the same.

    Data may be ordered by class, so the steps are wide: about the golden ratio of the split, and without a common
    factor with its size, so that none comes twice before all have come once.
    """
    step = next(step for step in count_up(round(_GOLDEN * size)) if math.gcd(step, size) == 1)
    return torch.arange(count) * step % size


def classes_in_turn(samples: Samples, count: int, searched: int = 1000) -> Tensor:
    """(count,) int64 numbers of samples of a split whose classes take turns, as far as `searched` samples from all over
    it have them; fewer where the split has fewer.
    """
    index = all_over(len(samples), min(len(samples), max(count, searched)))
    labels = samples.take(index)["label"]
    counts = torch.zeros(int(labels.max()) + 2, dtype=torch.long)
    turns = []
    for label in labels.tolist():
        counts[label] += 1
        turns.append(int(counts[label]))
    order = sorted(range(len(index)), key=lambda place: (turns[place], int(labels[place])))
    return index[order[:count]]


def titles_of(batch: Batch, source: Source, noun: str) -> list[str]:
    """The text of each sample, or else its class; its number where neither is known."""
    if "text" in batch and source.text is not None:
        return [source.text.decode(symbols) for symbols in batch["text"].cpu()]
    return [name or f"{noun} {n}" for n, name in enumerate(names_of(batch["label"], source.class_names), 1)]


def names_of(labels: Tensor, class_names: list[str]) -> list[str | None]:
    """The name of each class; None for samples of none."""
    return [class_names[label] if 0 <= label < len(class_names) else None for label in labels.tolist()]
