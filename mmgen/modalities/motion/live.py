"""Motions: poses as they are finished, then people who move again and again."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.media.video import tile_clips
from mmgen.modalities.motion.drawing import draw_motion, motion_strip, standing_still
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.sampling import require_motion_tokenizer, stream_motion
from mmgen.sampling.live import Moment, watch
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.store.store import Loaded


def stream_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """A strip of poses for each motion, as far as it goes, and at the end the motions that `mmgen sample` makes.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    lengths = None if request.frames is None else torch.full((request.count,), request.frames)
    fps, task = require_motion_tokenizer(loaded).fps, request.task(loaded, needs_text=True, lengths=lengths)
    for now in watch(task, stream_motion, every):
        if now.due:
            seconds = 0 if now.values is None else now.values.shape[2] / fps
            pictures = [motion_strip(each) for each in _joints(now)]
            yield Preview(f"step {now.steps}, {seconds:.1f} s so far", now.progress, now.state, pictures=pictures)
    made = _joints(now)
    caption = f"{sum(map(len, made)) / fps:.1f} s of motion in {now.seconds:.2g} s"
    longest = max(map(len, made))
    clip = tile_clips(torch.stack([draw_motion(standing_still(each, longest)) for each in made]))
    yield Preview(caption, 1.0, now.state, last=True, clip=clip, fps=fps)


def _joints(now: Moment) -> list[Tensor]:
    """(T, J, 3) of each row, as far as it goes; none before anything is made."""
    if now.values is None or now.newest is None:
        return []
    rows = zip(now.values, now.newest.lengths.tolist(), strict=True)
    return [features_to_joints(row[:, :count].mT) for row, count in rows]
