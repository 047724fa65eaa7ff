"""Held-out recordings: whole, at a tokenizer's rate, in voices that a generator knows."""

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.build import changed
from mmgen.data.sources import Samples, Source
from mmgen.evaluation.reference import Chosen


def whole_recordings(source: Source, sample_rate: int) -> Source:
    """The same data, whole clips at that rate. Raises UserError where it cannot be had so, as sounds without
    transcripts, which are there in stretches only.
    """
    return changed(at_rate(source, sample_rate), crop=None)


def at_rate(source: Source, sample_rate: int) -> Source:
    """The same data at that rate. Raises UserError where it has another."""
    source = changed(source, sample_rate=sample_rate)
    if source.sample_rate != sample_rate:
        rates = f"{sample_rate} Hz, and the data has {source.sample_rate} Hz"
        raise UserError(f"the tokenizer takes sounds at {rates}; choose other --data")
    return source


def of_known_voices(samples: Samples, classes: int, count: int) -> Samples:
    """The first `count` samples; of a generator with classes, the first ones whose voice it knows, since it hardly ever
    saw a text without its voice. Raises UserError where there is none.
    """
    if not classes:
        return Chosen(samples, torch.arange(min(count, len(samples))))
    parts: list[Tensor] = []
    for index in torch.arange(len(samples)).split(64):
        parts.append(index[samples.take(index)["label"] >= 0])
        if sum(map(len, parts)) >= count:
            break
    index = torch.cat(parts)[:count]
    if not len(index):
        raise UserError("no held-out clip has a voice that the generator was trained on; choose other --data")
    return Chosen(samples, index)
