"""What a source of samples is: named classes, a shape, and random access to the samples of a split."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

import torch
from rich.console import RenderableType
from torch import Tensor
from torch.utils.data import Dataset

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FrameNames, FreeText, Names, Vocabulary
from mmgen.data.sources.captions import Captions
from mmgen.data.stream import Stream

Batch = dict[str, Any]
"""Names to tensors whose first axis is the batch, or to lists of as many texts."""

SplitName = Literal["train", "val"]


class Samples(Dataset[Batch], ABC):
    """The samples of one split, by index.

    A batch holds `x` (b, *sample_shape) float32 in [-1, 1] (or `values`, tokens as stored, where a source is of
    tokens), `label` (b,) int64, and `sample` (b,) int64, the sample's number in the whole data set. Clips of a world
    have an `action` (b, T) int64. Sounds (1, T) end in silence, motions (D, T), features of any range, in a still pose;
    their `length` (b,) int64 is what comes before. What is read character by character is `text` (b, L) int64
    (`Source.text`); other captions are `caption`, a list of b texts, "" where a sample has none.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, index: Tensor) -> Batch:
        """The samples at index (b,) int64, in that order, as one batch: the same ones at every call."""

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        """The samples at index (b,) int64 as training sees them, each in its epoch (b,) int64; without augmentation,
        those of `take`. All that is random is keyed by a sample's number, its epoch and the run's seed
        (`mmgen.core.draws`), so that neither batches nor workers nor processes change a sample.
        """
        return self.take(index)

    @property
    def captions(self) -> Captions | None:
        """All captions of all samples, in order; None where they have none."""
        return None

    def texts(self, index: Tensor) -> list[str]:
        """What is said or done in the samples at index (b,) int64, in words. Raises UserError where that is unknown."""
        raise UserError("these samples have no transcripts")

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):  # iteration over a Dataset ends at an IndexError
            raise IndexError(index)
        return {name: value[0] for name, value in self.take(torch.tensor([index])).items()}

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples in order, `size` at a time; the last batch may be smaller."""
        for index in torch.arange(len(self)).split(size):
            yield self.take(index)


class Source(ABC):
    """A data set: what can be known without reading it, and its samples.

    A recipe names it by its class; its arguments are noted when it is made, so that it can be made again. Making one
    raises a UserError where an argument is out of range, or the data or a package is missing.

    Attributes:
        arguments: all that it was made with, defaults too, as plain types.
        class_names: one name a label; empty when samples have no class.
        sample_shape: shape of one raw sample, such as (1, 28, 28).
        spec: the tokens, where a source is of tokens rather than raw samples.
        crop: how held-out images were cut to that shape, in a few words, for the protocol of figures.
        fps: frames a second of a clip; None where samples are no clips.
        action_names: one name an action; empty when clips are of no world that is acted in.
        sample_rate: samples a second of a sound, in Hz; None where samples are no sounds.
        text: the alphabet and the longest of the texts that batches hold; None where they hold none.
        bounded: raw samples lie in [-1, 1]; else they are any finite numbers.
        more: facts that one modality alone needs, of plain types, such as the skeleton of a motion.
    """

    arguments: dict[str, Any]
    _splits: dict[str, Samples]
    class_names: list[str] = []  # noqa: RUF012  # never changed in place
    sample_shape: tuple[int, ...]
    spec: TokenSpec | None = None
    crop: str = "none"
    fps: float | None = None
    action_names: Sequence[str] = ()
    sample_rate: int | None = None
    text: Text | None = None
    bounded: bool = True
    more: Mapping[str, Any] = MappingProxyType({})

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Notes the arguments; none where a source is unpickled, which restores the note."""
        source = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(source, *args, **kwargs)
        bound.apply_defaults()
        values = list(bound.arguments.items())[1:]
        source.arguments = {name: _plain(value) for name, value in values if value is not inspect.Parameter.empty}
        source._splits = {}
        return source

    @property
    def actions(self) -> int:
        """Number of actions, 0 when there are none."""
        return len(self.action_names)

    @property
    def classes(self) -> int:
        """Number of classes, 0 when samples have none."""
        return len(self.class_names)

    @property
    def conditions(self) -> dict[str, Vocabulary]:
        """What comes with each sample, by name, and the values that it can take."""
        vocabularies: dict[str, Vocabulary] = {}
        if self.class_names:
            vocabularies["class"] = Names(tuple(self.class_names))
        if self.action_names:
            vocabularies["actions"] = FrameNames(tuple(self.action_names))
        if self.text is not None:
            vocabularies["text"] = self.text
        if (captions := self.caption_vocabulary) is not None:
            vocabularies["caption"] = captions
        return vocabularies

    @property
    def caption_vocabulary(self) -> FreeText | None:
        """The captions of samples, which may be read for it; None where there are none."""
        return None

    @property
    def facts(self) -> Facts:
        """All that a model is told of these samples; of raw ones, without the tokens that are made of them."""
        return Facts(self.spec, self.conditions, self.fps, self.sample_rate, more=dict(self.more))

    def samples(self, split: SplitName) -> Samples:
        """The samples of `train` or `val`; read on first use and kept.

        Raises:
            UserError: the data is missing or damaged, with the file's name.
        """
        if split not in get_args(SplitName):
            raise UserError(f"there is no split {split!r}: take 'train' or 'val'")
        if split not in self._splits:
            self._splits[split] = self.load_split(split)
        return self._splits[split]

    def load_split(self, split: SplitName) -> Samples:
        """The samples of one split, read."""
        raise NotImplementedError

    def statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation (D,) float32 of a motion's features over the training split, the latter averaged
        over each group of them (`mmgen.modalities.motion.features.feature_slices`); None where samples are no motions.
        """
        return None

    def stream(self, seed: int) -> Stream:
        """The endless order of the training samples."""
        return Stream(len(self.samples("train")), seed)

    @property
    def order(self) -> dict[str, int]:
        """Arguments on which the order of the training samples depends, beside their number and the seed."""
        return {}

    def report(self) -> RenderableType | None:
        """What is worth printing before training; None for nothing."""
        return None

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes so many made-up samples, of both splits together, into a folder, which is made where it is missing;
        returns the arguments that read them.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The `source` section of a config that leads back to this source."""
        return {"class_path": f"{type(self).__module__}.{type(self).__qualname__}", "init_args": dict(self.arguments)}


def _plain(value: Any) -> Any:
    """An argument as YAML holds it."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """A batch with its tensors on a device; texts stay as they are."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def require_argument(ok: bool, argument: str, rule: str, value: Any) -> None:
    """Raises UserError unless an argument of a source follows its rule."""
    if not ok:
        raise UserError(f"data.source.{argument} must be {rule}, got {value}")


def require_at_least(least: float, **arguments: float | None) -> None:
    """Raises UserError for the first argument of a source that is below `least`; None is no value."""
    for name, value in arguments.items():
        require_argument(value is None or value >= least, name, f"at least {least}", value)
