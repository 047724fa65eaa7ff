"""Figures of a generator's clips: predictions beside what really came next, and what becomes of long rollouts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.extractors import Extractor, as_floats
from mmgen.evaluation.likelihood import known_labels
from mmgen.evaluation.metrics import fid
from mmgen.media.images import to_uint8
from mmgen.modalities.video.evaluation.drift import measure_drift
from mmgen.modalities.video.evaluation.frame_metrics import (
    CAP,
    ClipFigure,
    ClipReport,
    capped_psnr,
    frame_ssim,
    listed,
    next_frame_gain,
    others_actions,
)
from mmgen.modalities.video.evaluation.frechet_video import FrameFeatures
from mmgen.modalities.video.sampling import VideoSamples, clip_spec, sample_clips, stream_clips
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import tokens_per_forward
from mmgen.store.store import Loaded

PREDICTION = {"psnr": f"mean over frames and clips, a frame at most {CAP:.1f} dB (rounding to bytes)"}
COMPARED = {"compared": "predicted frames behind their real context against the same real clips"}
GENERATED = {"compared": "generated clips against as many real ones"}


@dataclass(frozen=True, eq=False)
class Task:
    """Clips to be made.

    Args:
        real: (N, C, T, H, W) uint8, held-out clips. T is `length`, or less where longer ones are not to be had.
        labels: (N,) int64, their classes as far as the generator knows any; -1 for none.
        actions: (N, length) int64, what led to each frame; None where the generator or the data knows none.
        context: frames that are given; 0 for none.
        length: frames of each clip that is made, the context included.
    """

    real: Tensor
    labels: Tensor
    actions: Tensor | None
    context: int
    length: int

    @classmethod
    def of(cls, loaded: Loaded, samples: Samples, context: int, length: int, batch: int = 16) -> "Task":
        """All samples, cut to `length` frames. Raises UserError for a class that the generator does not know."""
        parts = list(samples.batches(batch))
        acted = bool(loaded.generator.actions) and "action" in parts[0]
        actions = torch.cat([part["action"] for part in parts])[:, :length] if acted else None
        labels = known_labels(torch.cat([part["label"] for part in parts]), loaded)
        real = torch.cat([to_uint8(part["x"])[:, :, :length] for part in parts])
        return cls(real, labels, actions, context, length)

    @property
    def has_truth(self) -> bool:
        """Whether it is known what really came, to the end."""
        return self.real.shape[2] == self.length


@dataclass(frozen=True, eq=False)
class Look:
    """What an extractor sees in clips.

    Args:
        clips: (N, F) float64.
        frames: (N, T, f) float64, of single frames; None from an extractor of whole clips.
    """

    clips: Tensor
    frames: Tensor | None

    @classmethod
    @torch.no_grad()
    def at(cls, extractor: Extractor, pixels: Tensor, batch: int = 16) -> "Look":
        """(N, C, T, H, W) uint8, each clip on its own."""
        parts = map(as_floats, pixels.split(batch))
        if not isinstance(extractor, FrameFeatures):
            return cls(torch.cat([extractor(part).double().cpu() for part in parts]), None)
        frames = torch.cat([extractor.frames(part).double().cpu() for part in parts])
        return cls(extractor.clips(frames), frames)


def check_task(
    loaded: Loaded, mode: str, task: Task, options: SampleOptions | None = None, seed: int = 0, batch: int = 16
) -> None:
    """Raises UserError where `measure_predictions` would, before anything is run."""
    known = task.context
    context = as_floats(task.real[:, :, :known]) if known else None
    if task.actions is not None and task.actions.shape[1] < task.length:
        had = task.actions.shape[1]
        raise UserError(f"{loaded.path} follows actions, and the data has them for {had} of {task.length} frames only")
    loaded.generator.require_grid(clip_spec(loaded, task.length).grid)
    stream_clips(
        loaded, mode, task.labels, options or SampleOptions(), seed,
        batch=batch, frames=task.length, context=context, actions=task.actions,
    )  # fmt: skip


def measure_predictions(
    loaded: Loaded,
    mode: str,
    task: Task,
    extractor: Extractor,
    real: Look | None = None,
    options: SampleOptions | None = None,
    seed: int = 0,
    batch: int = 16,
    drift: bool = False,
    progress: Progress | None = None,
) -> ClipReport:
    """Go on from the context of held-out clips and compare with what really came.

    Of predictions whose truth is known: `psnr_db`, `ssim`, and `next_frame_gain_db` over copying the last frame of the
    context, each with its list by frame; where the generator follows actions also `action_gain_db`, what PSNR is lost
    when clips swap their actions and nothing else. Without a context, `fvd` alone.

    Args:
        loaded: from `mmgen.store.store.load_generator`; it runs on the device it is on.
        mode: one of `loaded.paradigm.modes()`.
        task: the clips.
        extractor: of clips.
        real: what it sees in `task.real`, where that was looked at before.
        options: steps, guidance and decoding; the default ones if None.
        seed: with a clip's number, the key of its randomness; also of the swapped actions.
        batch: clips at a time; changes no clip, but `seconds_per_sample`.
        drift: measure `drift` too, with an extractor of single frames.
        progress: called with the number of clips that are done.

    Raises:
        UserError: as `check_task`.
    """
    known = task.context
    context = as_floats(task.real[:, :, :known]) if known else None

    def predict(actions: Tensor | None, progress: Progress | None) -> VideoSamples:
        return sample_clips(
            loaded,
            mode,
            task.labels,
            options or SampleOptions(),
            seed=seed,
            batch=batch,
            frames=task.length,
            context=context,
            actions=actions,
            progress=progress,
        )

    sampled = predict(task.actions, progress)
    made = torch.cat([task.real[:, :, :known], to_uint8(sampled.clips[:, :, known:])], dim=2)
    figures: list[ClipFigure] = []
    if known and task.has_truth:
        figures += _closeness(made, task)
        if task.actions is not None:
            other = to_uint8(predict(others_actions(task.actions, known, seed), None).clips)
            figures.append(_action_gain(made, other, task))
    if real is None:
        real = Look.at(extractor, task.real, batch)
    seen = Look.at(extractor, made, batch)
    if task.has_truth:
        compared = COMPARED if known else GENERATED
        figures.append(ClipFigure(extractor.distance, fid(real.clips, seen.clips), extractor, dict(compared)))
    if drift:
        assert isinstance(extractor, FrameFeatures) and seen.frames is not None and real.frames is not None
        truth = real.frames[:, known:] if task.has_truth else None
        figures.append(measure_drift(seen.frames[:, known:], real.frames, extractor.image, truth, known))
    figures += [
        ClipFigure("forward_passes", float(sampled.forward_passes)),
        ClipFigure("tokens_per_forward", tokens_per_forward(sampled.tokens.shape[1], sampled.forward_passes)),
        ClipFigure("seconds_per_sample", sampled.seconds / len(made)),
    ]
    return ClipReport(figures, made, sampled.steps)


def _closeness(made: Tensor, task: Task) -> list[ClipFigure]:
    context, known = as_floats(task.real[:, :, : task.context]), task.context
    predicted, truth = (as_floats(clips[:, :, known:]) for clips in (made, task.real))
    curves = {
        "psnr_db": capped_psnr(predicted, truth),
        "ssim": frame_ssim(predicted, truth),
        "next_frame_gain_db": next_frame_gain(predicted, context, truth),
    }
    return [
        ClipFigure(name, curve.mean().item(), protocol=_by_frame(curve, known) | ({} if name == "ssim" else PREDICTION))
        for name, curve in curves.items()
    ]


def _action_gain(made: Tensor, other: Tensor, task: Task) -> ClipFigure:
    known = task.context
    truth = as_floats(task.real[:, :, known:])
    under, swapped = (capped_psnr(as_floats(clips[:, :, known:]), truth) for clips in (made, other))
    gain = under - swapped
    how = {"actions": "recorded ones against those of another clip, with the same context and noise"} | PREDICTION
    return ClipFigure("action_gain_db", gain.mean().item(), protocol=how | _by_frame(gain, known))


def _by_frame(curve: Tensor, known: int) -> dict[str, object]:
    """The list of a curve, and the number of its first frame, from 0."""
    return {"per_frame": listed(curve), "first_frame": known}
