"""Metrics of a generator of motions that is asked for the classes, texts and lengths of real ones."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources import Samples, Source
from mmgen.evaluation.command import Metric, ModeSampling, Report, cost_metrics
from mmgen.evaluation.likelihood import known_labels
from mmgen.modalities.motion.evaluation.metrics import Judges
from mmgen.modalities.motion.evaluation.network import frames_of, motions_of
from mmgen.modalities.motion.evaluation.text import captions_of
from mmgen.modalities.motion.sampling import MotionSamples, sample_motion
from mmgen.sampling.samples import SamplingTask, text_condition, text_values
from mmgen.store.store import Loaded


@dataclass(frozen=True, eq=False)
class Real:
    """Real motions, and how a generator is asked for others like them."""

    x: Tensor  # (n, D, T) raw features, filled up at their ends
    lengths: Tensor  # (n,) int64 frames of each before that
    actions: Tensor  # (n,) int64 classes of the data; -1 for none
    labels: Tensor  # (n,) int64 the same as the generator knows them; -1 for a generator without classes
    captions: list[str] | None  # texts; None where the data have none
    reads: bool  # whether the generator reads texts
    ends: bool  # whether its motions end by themselves
    fps: float  # frames a second

    @classmethod
    def of(cls, loaded: Loaded, source: Source, samples: Samples) -> "Real":
        """All samples. Raises UserError for data of other lengths or classes than the generator's, or without the texts
        that it reads.
        """
        reads, frames = text_condition(loaded) is not None, source.sample_shape[1]
        if loaded.spec.latents(frames) != loaded.spec.grid[0]:
            longest = f"{loaded.spec.frames(loaded.spec.grid[0])} frames, and the data has {frames}"
            raise UserError(f"{loaded.path} makes motions of up to {longest}; choose other --data")
        if reads and source.text is None:
            raise UserError(f"{loaded.path} reads texts, and the data has none; choose other --data")
        batch = samples.take(torch.arange(len(samples)))
        captions = None if source.text is None else captions_of(batch, source.text)
        labels = known_labels(batch["label"], loaded)
        return cls(
            batch["x"], frames_of(batch), batch["label"], labels, captions, reads, loaded.paradigm.ends,
            source.fps or 1.0,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.x)

    @property
    def motions(self) -> list[Tensor]:
        """(D, T) each, without what fills it up."""
        return motions_of({"x": self.x, "length": self.lengths})

    @property
    def texts(self) -> list[str] | None:
        """The texts that the generator reads."""
        return self.captions if self.reads else None

    def task(self, sampling: ModeSampling, **more: Any) -> SamplingTask:
        """Others like them; `more` are further arguments of `SamplingTask`."""
        texts = {} if self.texts is None else text_values(sampling.loaded, self.texts)
        more = {"lengths": None if self.ends else self.lengths} | more
        return sampling.task(texts | {"class": self.labels}, **more)

    def rows(self, index: Tensor) -> "Real":
        """Some of them, (b,) int64, perhaps several times."""
        captions = None if self.captions is None else [self.captions[place] for place in index.tolist()]
        parts = (self.x[index], self.lengths[index], self.actions[index], self.labels[index])
        return Real(*parts, captions, self.reads, self.ends, self.fps)


def measure_real(held_out: Real, training: Real, judges: Judges) -> list[Metric]:
    """The judges' metrics of held-out motions, for comparison: names end in `_real`. Their distance is that to motions
    of the training split, as a generator that repeats these would have.
    """
    others = judges.features(training.motions)
    return judges.measure(held_out.motions, held_out.actions, held_out.captions, others, held_out.fps, "_real")


def measure_motions(sampling: ModeSampling, real: Real, judges: Judges, others: Tensor | None) -> Report[MotionSamples]:
    """Motions of the same classes, texts and, unless they end by themselves, lengths as real ones, and the judges'
    metrics of them, compared with the features (n, F) of others, from `judges.features`.

    Raises:
        UserError: as `mmgen.modalities.motion.sampling.sample_motion`.
    """
    made = sample_motion(real.task(sampling))
    motions = [motion.float().cpu() for motion in made.features]
    conditional = bool(sampling.loaded.generator.names("class")) or real.reads
    actions = real.actions if conditional else torch.full_like(real.actions, -1)
    metrics = judges.measure(motions, actions, real.texts, others, real.fps)
    seconds = sum(motion.shape[1] for motion in motions) / real.fps
    how = {"seconds_per_second": f"wall clock a second of motion, {min(sampling.batch, len(real))} at a time"}
    pace = Metric("seconds_per_second", made.seconds / seconds, protocol=how)
    metrics += cost_metrics(made, pace)
    return Report(metrics, made, made.steps)
