"""Motions: poses as they are finished, then people who move again and again."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.video import tile_clips
from mmgen.modalities.motion.drawing import draw_motion, motion_strip
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.sampling import Poses, require_motion_tokenizer, stream_motion
from mmgen.sampling.live import Pace, with_progress
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.sampling.samples import check_request, class_labels, pick_mode
from mmgen.store.store import Loaded


def stream_motion_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """A strip of poses for each motion, as far as it goes, and at the end the motions of `sampling.sample_motion`.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    pick_mode(loaded, request.mode)
    tokenizer, labels = require_motion_tokenizer(loaded), class_labels(request.classes, request.count, loaded)
    check_request(loaded, labels, request.options, request.count)
    if loaded.generator.text is not None and not request.text:
        raise UserError(f"{loaded.path} does what it is told: write a text")
    lengths = None if request.frames is None else torch.full((request.count,), request.frames)
    texts = None if loaded.generator.text is None else [request.text] * request.count
    features, newest = torch.zeros(request.count, tokenizer.sample_shape[0], 0), None
    pace, began, done, steps = Pace(every), time.perf_counter(), 0.0, 0
    for part in with_progress(
        lambda report: stream_motion(
            loaded, request.mode, labels, texts, request.options, request.seed,
            batch=request.count, lengths=lengths, progress=report,
        )
    ):  # fmt: skip
        if isinstance(part, Poses):
            features, newest = torch.cat([features, part.features], dim=2), part
        else:
            done, steps = part / request.count, steps + 1
        if pace.due():
            state = None if newest is None else newest.state
            caption = f"step {steps}, {features.shape[2] / tokenizer.fps:.1f} s so far"
            yield Preview(caption, done, state, pictures=[motion_strip(each) for each in _joints(features, newest)])
            pace.drawn()
    assert newest is not None
    made, seconds = _joints(features, newest), time.perf_counter() - began
    caption = f"{sum(map(len, made)) / tokenizer.fps:.1f} s of motion in {seconds:.2g} s"
    longest = max(map(len, made))
    held = [torch.cat([each, each[-1:].expand(longest - len(each), -1, -1)]) for each in made]
    clip = tile_clips(torch.stack([draw_motion(each) for each in held]))
    yield Preview(caption, 1.0, newest.state, last=True, clip=clip, fps=tokenizer.fps)


def _joints(features: Tensor, newest: Poses | None) -> list[Tensor]:
    """(T, J, 3) of each row, as far as it goes; none before anything is made."""
    if newest is None or not features.shape[2]:
        return []
    return [features_to_joints(row[:, :count].mT) for row, count in zip(features, newest.lengths.tolist(), strict=True)]
