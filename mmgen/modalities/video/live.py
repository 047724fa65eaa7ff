"""Clips: each frame as soon as it is finished, then all of them again and again."""

from collections.abc import Iterator

import torch.nn.functional as F

from mmgen.media.images import grid
from mmgen.media.video import contact_sheet, tile_clips
from mmgen.modalities.video.sample_files import FPS
from mmgen.modalities.video.sampling import stream_clips
from mmgen.sampling.live import watch
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.store.store import Loaded


def stream_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """The newest frame of all clips above a strip that fills, and at the end the clips that `mmgen sample` makes.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    task = request.task(loaded, frames=request.frames)
    frames = task.spec.frames(task.spec.grid[0])
    for now in watch(task, stream_clips, every):
        made = 0 if now.values is None else now.values.shape[2]
        if now.due and made < frames:
            pictures = []
            if now.values is not None:  # grey where nothing is made yet
                clips = F.pad(now.values, (0, 0, 0, 0, 0, frames - made))
                pictures = [grid(now.values[:, :, -1]), contact_sheet(clips)]
            caption = f"step {now.steps}, {made} of {frames} frames"
            yield Preview(caption, now.progress, now.state, pictures=pictures)
    assert now.values is not None and now.state is not None
    many = f"{request.count} clips of {frames} frames each" if request.count > 1 else f"a clip of {frames} frames"
    caption = f"{many} in {now.seconds:.2g} s, {now.state.forward_passes} forward passes"
    clip, fps = tile_clips(now.values), loaded.facts.fps or FPS
    yield Preview(caption, 1.0, now.state, last=True, pictures=[contact_sheet(now.values)], clip=clip, fps=fps)
