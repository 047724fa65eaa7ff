"""Metrics of a generator's clips: predictions against the frames that really came, and long rollouts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources import Samples
from mmgen.evaluation.command import Metric, ModeSampling, Report, cost_metrics
from mmgen.evaluation.extractors import Extractor, as_floats, extractor_metric
from mmgen.evaluation.likelihood import known_labels
from mmgen.evaluation.metrics import fid
from mmgen.media.images import to_uint8
from mmgen.modalities.video.evaluation.frame_metrics import (
    CAP,
    capped_psnr,
    frame_means,
    frame_ssim,
    measure_drift,
    next_frame_gain,
    swap_actions,
)
from mmgen.modalities.video.evaluation.frechet_video import FrameFeatures
from mmgen.modalities.video.sampling import sample_clips, stream_clips
from mmgen.paradigms.base import ConditionValues
from mmgen.store.store import Loaded

PREDICTION = {"psnr": f"mean over frames and clips, a frame at most {CAP:.1f} dB (rounding to bytes)"}
COMPARED = "predicted frames behind their real context against the same real clips"
GENERATED = "generated clips against as many real ones"


@dataclass(frozen=True, eq=False)
class PredictionTask:
    """Clips to be made."""

    real: Tensor  # (N, C, T, H, W) uint8, held-out clips. T is `length`, or less where longer ones are not to be had
    labels: Tensor  # (N,) int64, their classes as far as the generator knows any; -1 for none
    actions: Tensor | None  # (N, length) int64, what led to each frame; None where the generator or the data knows none
    context: int  # frames that are given; 0 for none
    length: int  # frames of each clip that is made, the context included

    @classmethod
    def of(cls, loaded: Loaded, samples: Samples, context: int, length: int, batch: int = 16) -> "PredictionTask":
        """All samples, cut to `length` frames. Raises UserError for a class that the generator does not know."""
        parts = list(samples.batches(batch))
        acted = bool(loaded.generator.names("actions")) and "action" in parts[0]
        actions = torch.cat([part["action"] for part in parts])[:, :length] if acted else None
        labels = known_labels(torch.cat([part["label"] for part in parts]), loaded)
        real = torch.cat([to_uint8(part["x"])[:, :, :length] for part in parts])
        return cls(real, labels, actions, context, length)

    def conditions(self, actions: Tensor | None) -> dict[str, ConditionValues]:
        """Their classes and some actions, as a `SamplingTask` takes them."""
        labels: dict[str, ConditionValues] = {"class": self.labels}
        return labels if actions is None else labels | {"actions": actions}

    @property
    def has_truth(self) -> bool:
        """Whether the real frames are known to the end."""
        return self.real.shape[2] == self.length

    @property
    def context_frames(self) -> Tensor | None:
        """(N, C, context, H, W) in [-1, 1]; None for no context."""
        return as_floats(self.real[:, :, : self.context]) if self.context else None


@torch.no_grad()
def clip_features(extractor: Extractor, pixels: Tensor, batch: int = 16) -> tuple[Tensor, Tensor | None]:
    """Features (N, F) float64 of clips (N, C, T, H, W) uint8, each on its own, and those of single frames (N, T, f);
    None from an extractor of whole clips.
    """
    parts = map(as_floats, pixels.split(batch))
    if not isinstance(extractor, FrameFeatures):
        return torch.cat([extractor(part).double().cpu() for part in parts]), None
    frames = torch.cat([extractor.frames(part).double().cpu() for part in parts])
    return extractor.clips(frames), frames


def check_task(sampling: ModeSampling, task: PredictionTask) -> None:
    """Raises UserError where `measure_predictions` would, before anything is run."""
    loaded = sampling.loaded
    if task.actions is not None and task.actions.shape[1] < task.length:
        count = f"{task.actions.shape[1]} of {task.length}"
        raise UserError(f"{loaded.path} follows actions, and the data has them for {count} frames only")
    stream_clips(sampling.task(task.conditions(task.actions), frames=task.length), task.context_frames)


def measure_predictions(
    sampling: ModeSampling,
    task: PredictionTask,
    extractor: Extractor,
    real: tuple[Tensor, Tensor | None] | None = None,
    drift: bool = False,
) -> Report[Tensor]:
    """Go on from the context of held-out clips and compare with the frames that really came. The report holds clips
    (N, C, T, H, W) uint8, predictions behind their real context.

    Where the truth is known: `psnr_db`, `ssim`, and `next_frame_gain_db` over copying the last frame of the context,
    each with its list by frame; where the generator follows actions also `action_gain_db`, the PSNR that is lost when
    clips swap their actions and nothing else. Without a context, `fvd` alone.

    Args:
        sampling: of the clips.
        task: the clips.
        extractor: of clips.
        real: `clip_features` of `task.real`, if known.
        drift: measure `drift` too, with an extractor of single frames.

    Raises:
        UserError: as `check_task`.
    """
    known, context = task.context, task.context_frames

    sampled = sample_clips(sampling.task(task.conditions(task.actions), frames=task.length), context)
    made = torch.cat([task.real[:, :, :known], to_uint8(sampled.clips[:, :, known:])], dim=2)
    metrics: list[Metric] = []
    if context is not None and task.has_truth:
        predicted, truth = (as_floats(clips[:, :, known:]) for clips in (made, task.real))
        psnr = capped_psnr(predicted, truth)
        metrics = [
            _curve_metric("psnr_db", psnr, known, PREDICTION),
            _curve_metric("ssim", frame_ssim(predicted, truth), known),
            _curve_metric("next_frame_gain_db", next_frame_gain(predicted, context, truth), known, PREDICTION),
        ]
        if task.actions is not None:
            conditions = task.conditions(swap_actions(task.actions, known, sampling.seed))
            swapped = sample_clips(sampling.task(conditions, frames=task.length, progress=None), context)
            gain = psnr - capped_psnr(as_floats(to_uint8(swapped.clips[:, :, known:])), truth)
            how = {"actions": "recorded ones against those of another clip, with the same context and noise"}
            metrics.append(_curve_metric("action_gain_db", gain, known, how | PREDICTION))
    real_clips, real_frames = clip_features(extractor, task.real, sampling.batch) if real is None else real
    clips, frames = clip_features(extractor, made, sampling.batch)
    if task.has_truth:
        words = COMPARED if known else GENERATED
        metrics.append(extractor_metric(extractor.distance, fid(real_clips, clips), extractor, compared=words))
    if drift:
        assert isinstance(extractor, FrameFeatures) and frames is not None and real_frames is not None
        later = real_frames[:, known:] if task.has_truth else None
        metrics.append(measure_drift(frames[:, known:], real_frames, extractor.image, later, known))
    seconds = Metric("seconds_per_sample", sampled.seconds / len(made))
    metrics += cost_metrics(sampled, seconds)
    return Report(metrics, made, sampled.steps)


def _curve_metric(name: str, curve: Tensor, known: int, protocol: dict[str, str] | None = None) -> Metric:
    """The mean of a curve (N, T), with its list by frame and the number of its first frame, from 0."""
    how = {"per_frame": frame_means(curve), "first_frame": known}
    return Metric(name, curve.mean().item(), protocol=how | (protocol or {}))
