"""Clips: each frame as soon as it is finished, then all of them again and again."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.media.images import grid
from mmgen.media.video import contact_sheet, tile_clips
from mmgen.modalities.video.sampling import Frames, clip_spec, stream_clips
from mmgen.sampling.live import Pace, with_progress
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.sampling.samples import check_request, class_labels, pick_mode, require_tokenizer
from mmgen.store.store import Loaded

_FPS = 8.0  # where the run does not say


def stream_clip_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """The newest frame of all clips above a strip that fills, and at the end the clips of
    `mmgen.modalities.video.sampling.sample_clips`.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    pick_mode(loaded, request.mode)
    spec, labels = clip_spec(loaded, request.frames), class_labels(request.classes, request.count, loaded)
    check_request(loaded, labels, request.options, request.count)
    channels, _, height, width = require_tokenizer(loaded).sample_shape
    frames = spec.frames(spec.grid[0])
    clips, made = torch.zeros(request.count, channels, frames, height, width), 0
    pace, began, done, steps, newest = Pace(every), time.perf_counter(), 0.0, 0, None
    for part in with_progress(
        lambda report: stream_clips(
            loaded, request.mode, labels, request.options, request.seed,
            batch=request.count, frames=request.frames, progress=report,
        )
    ):  # fmt: skip
        if isinstance(part, Frames):
            clips[:, :, part.start : part.stop] = part.clip
            made, newest = part.stop, part
        else:
            done, steps = part / request.count, steps + 1
        if made < frames and pace.due():
            caption = f"step {steps}, {made} of {frames} frames"
            state = None if newest is None else newest.state
            yield Preview(caption, done, state, pictures=_so_far(clips, made) if made else ())
            pace.drawn()
    assert newest is not None
    seconds = time.perf_counter() - began
    many = f"{request.count} clips of {frames} frames each" if request.count > 1 else f"a clip of {frames} frames"
    caption = f"{many} in {seconds:.2g} s, {newest.state.forward_passes} forward passes"
    yield Preview(
        caption, 1.0, newest.state, last=True, pictures=[contact_sheet(clips)],
        clip=tile_clips(clips), fps=loaded.facts.fps or _FPS,
    )  # fmt: skip


def _so_far(clips: Tensor, made: int) -> list[Tensor]:
    """The newest frame of each clip, and the strip of all, grey where nothing is made yet."""
    return [grid(clips[:, :, made - 1]), contact_sheet(clips)]
