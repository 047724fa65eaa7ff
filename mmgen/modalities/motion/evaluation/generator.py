"""Figures of a generator of motions: what is done in real ones, done anew."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.data.sources import Samples, Source
from mmgen.evaluation.command import Metric
from mmgen.evaluation.likelihood import known_labels
from mmgen.modalities.motion.evaluation.judges import Judges, Wanted, judged
from mmgen.modalities.motion.evaluation.network import frames_of, motions_of
from mmgen.modalities.motion.evaluation.text import captions_of
from mmgen.modalities.motion.sampling import MotionSamples, sample_motion
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import tokens_per_forward
from mmgen.store.store import Loaded


@dataclass(frozen=True, eq=False)
class Real:
    """Real motions, and what is asked for to have others like them.

    Args:
        x: (n, D, T) raw features, filled up at their ends.
        lengths: (n,) int64 frames of each before that.
        actions: (n,) int64 classes of the data; -1 for none.
        labels: (n,) int64 the same as the generator knows them; -1 for a generator without classes.
        captions: texts; None where the data have none.
        reads: whether the generator is told the texts.
        ends: whether its motions end by themselves.
        fps: frames a second.
    """

    x: Tensor
    lengths: Tensor
    actions: Tensor
    labels: Tensor
    captions: list[str] | None
    reads: bool
    ends: bool
    fps: float

    @classmethod
    def of(cls, loaded: Loaded, source: Source, samples: Samples) -> "Real":
        """All samples. Raises UserError for data of other lengths or classes than the generator's, or without the texts
        that it reads.
        """
        generator, frames = loaded.generator, source.sample_shape[1]
        if loaded.spec.latents(frames) != loaded.spec.grid[0]:
            made = f"{loaded.spec.frames(loaded.spec.grid[0])} frames, and the data has {frames}"
            raise UserError(f"{loaded.path} makes motions of up to {made}; choose other --data")
        if generator.text is not None and source.text is None:
            raise UserError(f"{loaded.path} is told what to do by texts, and the data has none; choose other --data")
        batch = samples.take(torch.arange(len(samples)))
        captions = None if source.text is None else captions_of(batch, source.text)
        labels = known_labels(batch["label"], loaded)
        return cls(
            batch["x"], frames_of(batch), batch["label"], labels, captions, generator.text is not None,
            loaded.paradigm.ends, source.fps or 1.0,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.x)

    @property
    def motions(self) -> list[Tensor]:
        """(D, T) each, without what fills it up."""
        return motions_of({"x": self.x, "length": self.lengths})

    @property
    def texts(self) -> list[str] | None:
        """What the generator is told in words."""
        return self.captions if self.reads else None

    def rows(self, index: Tensor) -> "Real":
        """Some of them, (b,) int64, perhaps several times."""
        captions = None if self.captions is None else [self.captions[place] for place in index.tolist()]
        parts = (self.x[index], self.lengths[index], self.actions[index], self.labels[index])
        return Real(*parts, captions, self.reads, self.ends, self.fps)


@dataclass(frozen=True, eq=False)
class MotionReport:
    """What one way of sampling yields.

    Args:
        figures: one a metric.
        moved: the motions.
    """

    figures: list[Metric]
    moved: MotionSamples

    @property
    def values(self) -> dict[str, float]:
        """Full metric name -> value."""
        return {each.name: each.value for each in self.figures}


def measure_real(held_out: Real, training: Real, judges: Judges) -> list[Metric]:
    """What judges make of held-out motions themselves, beside which others are judged: names end in `_real`. Their
    distance is that to motions of the training split, as a generator that repeats these would have.
    """
    wanted = Wanted(held_out.actions, held_out.captions)
    return judged(held_out.motions, wanted, judges.features(training.motions), judges, held_out.fps, "_real")


def measure_motions(
    loaded: Loaded,
    mode: str,
    asked: Real,
    judges: Judges,
    others: Tensor | None,
    options: SampleOptions | None = None,
    seed: int = 0,
    batch: int = 16,
    progress: Progress | None = None,
) -> MotionReport:
    """Motions of the same classes, texts and, unless they end by themselves, lengths as real ones, and what judges make
    of them.

    Args:
        loaded: from `mmgen.store.store.load_generator`; it runs on the device it is on.
        mode: one of `loaded.paradigm.modes()`.
        asked: motions that others are to be like.
        judges: who look.
        others: (n, F) features of the motions that those are compared with, from `judges.features`.
        options: steps, guidance and decoding; the default ones if None.
        seed: with a motion's number, the key of its randomness.
        batch: motions at a time; changes nothing that is made, but `seconds_per_second`.
        progress: called with the number of motions that are done.

    Raises:
        UserError: as `mmgen.modalities.motion.sampling.sample_motion`.
    """
    lengths = None if asked.ends else asked.lengths
    moved = sample_motion(
        loaded, mode, asked.labels, asked.texts, options, seed, batch=batch, lengths=lengths, progress=progress
    )
    motions = [motion.float().cpu() for motion in moved.features]
    told = bool(loaded.generator.classes) or asked.reads
    wanted = Wanted(asked.actions if told else None, asked.texts)
    figures = judged(motions, wanted, others, judges, asked.fps)
    seconds = sum(motion.shape[1] for motion in motions) / asked.fps
    how = {"seconds_per_second": f"wall clock a second of motion, {min(batch, len(asked))} at a time"}
    figures += [
        Metric("forward_passes", float(moved.forward_passes)),
        Metric("tokens_per_forward", tokens_per_forward(moved.lengths / loaded.spec.stride, moved.forward_passes)),
        Metric("seconds_per_second", moved.seconds / seconds, protocol=how),
    ]
    return MotionReport(figures, moved)
