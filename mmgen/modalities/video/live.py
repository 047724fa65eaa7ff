"""Clips: each frame as soon as it is finished, then all of them again and again."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.media.images import grid
from mmgen.media.video import contact_sheet, tile_clips
from mmgen.modalities.video.sampling import Frames, clip_spec, stream_clips
from mmgen.sampling.live import Pace, with_progress
from mmgen.sampling.preview import Shown
from mmgen.sampling.request import Asked
from mmgen.sampling.samples import check_request, class_labels, pick_mode, require_tokenizer
from mmgen.store.store import Loaded

_FPS = 8.0  # where the run does not say


def show_clips(loaded: Loaded, asked: Asked, every: float) -> Iterator[Shown]:
    """The newest frame of all clips above a strip that fills, and at the end the clips of
    `mmgen.modalities.video.sampling.sample_clips`.

    Arguments and errors as for `mmgen.apps.serve.sampling.show`.
    """
    pick_mode(loaded, asked.mode)
    spec, labels = clip_spec(loaded, asked.frames), class_labels(asked.classes, asked.count, loaded)
    check_request(loaded, labels, asked.options, asked.count)
    channels, _, height, width = require_tokenizer(loaded).sample_shape
    frames = spec.frames(spec.grid[0])
    clips, made = torch.zeros(asked.count, channels, frames, height, width), 0
    pace, began, done, steps, newest = Pace(every), time.perf_counter(), 0.0, 0, None
    for part in with_progress(
        lambda report: stream_clips(
            loaded, asked.mode, labels, asked.options, asked.seed,
            batch=asked.count, frames=asked.frames, progress=report,
        )
    ):  # fmt: skip
        if isinstance(part, Frames):
            clips[:, :, part.start : part.stop] = part.clip
            made, newest = part.stop, part
        else:
            done, steps = part / asked.count, steps + 1
        if made < frames and pace.due():
            told = f"step {steps}, {made} of {frames} frames"
            state = None if newest is None else newest.state
            yield Shown(told, done, state, pictures=_so_far(clips, made) if made else ())
            pace.drawn()
    assert newest is not None
    seconds = time.perf_counter() - began
    many = f"{asked.count} clips of {frames} frames each" if asked.count > 1 else f"a clip of {frames} frames"
    told = f"{many} in {seconds:.2g} s, {newest.state.forward_passes} forward passes"
    yield Shown(
        told, 1.0, newest.state, last=True, pictures=[contact_sheet(clips)],
        clip=tile_clips(clips), fps=loaded.facts.fps or _FPS,
    )  # fmt: skip


def _so_far(clips: Tensor, made: int) -> list[Tensor]:
    """The newest frame of each clip, and the strip of all, grey where nothing is made yet."""
    return [grid(clips[:, :, made - 1]), contact_sheet(clips)]
