"""What `mmgen sample` does for a run that makes clips."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.images import comfortable, enlarge, save_png
from mmgen.media.video import contact_sheet, mp4_bytes, tile_clips, write_gif, write_mp4
from mmgen.modalities.video.actions import clip_actions
from mmgen.modalities.video.context import HELD_OUT, Context, file_context, held_out_context, is_image
from mmgen.modalities.video.sampling import VideoSamples, check_context, sample_clips
from mmgen.sampling.command import SamplingCommand
from mmgen.store.store import Loaded

FPS = 8.0  # where the run does not say


class VideoSampling(SamplingCommand):
    """Clips: grid.mp4, grid.gif, sheet.png and an MP4 each.

    Attributes:
        context: (B, C, K, H, W) in [-1, 1], what the clips begin with; None for nothing.
        recorded: (B, T) int64 actions of the clips that the context is from; None where unknown.
    """

    modality = "video"
    samples: VideoSamples

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        super().__init__(loaded, arguments)
        count, facts = 8 if arguments["num"] is None else arguments["num"], loaded.facts
        self.fps = (facts.fps or FPS) if arguments["fps"] is None else arguments["fps"]
        mp4_bytes(torch.zeros(1, 1, 2, 2), self.fps)  # whether the results can be written, before hours go into them
        length = arguments["frames"]
        spec = loaded.spec if length is None else loaded.spec.with_frames(length)
        self.frames = spec.frames(spec.grid[0])
        begin = self._context(count, spec.first)
        self.context, self.recorded, self.recordings = begin.frames, begin.actions, begin.clips
        given = 0 if self.context is None else self.context.shape[2]
        self.actions = clip_actions(arguments["actions"], loaded, count, self.frames, given, self.recorded)
        conditions = {} if self.actions is None else {"actions": self.actions}
        labels = begin.labels if loaded.generator.names("class") else None
        self.task = self.make_task(count, labels=labels, frames=self.frames, conditions=conditions)
        check_context(self.tokenizer, spec, count, self.context)

    def _context(self, count: int, first: int) -> Context:
        source, length = self.arguments["context"], self.arguments["context_frames"]
        if source is None:
            if length is not None:
                raise UserError("--context_frames needs --context: the video, image or held_out clips to begin with")
            return Context(None)
        length = length if length is not None else 1 if is_image(source) else first
        if not 1 <= length < self.frames:
            raise UserError(
                f"--context_frames {length} must lie between 1 and {self.frames - 1} in clips of {self.frames}"
            )
        if source == HELD_OUT:
            return held_out_context(self.loaded, count, length)
        return file_context(source, self.loaded, count, length, self.loaded.facts.fps or self.fps)

    def sample(self) -> VideoSamples:
        return sample_clips(self.task, self.context)

    def write(self, folder: Path) -> dict[str, Any]:
        samples, clips = self.samples, self.samples.clips
        tiles = tile_clips(enlarge(clips, comfortable(clips)))
        write_mp4(tiles, folder / "grid.mp4", self.fps)
        write_gif(tiles, folder / "grid.gif", self.fps)
        save_png(contact_sheet(enlarge(clips, comfortable(clips, 56))), folder / "sheet.png")
        recordings: list[Tensor] = [] if self.recordings is None else list(self.recordings)
        for suffix, rows in ((".mp4", clips), (".real.mp4", recordings)):
            for number, clip in enumerate(rows):
                write_mp4(clip, self.file(folder, number, suffix), self.fps)
        tensors = {} if self.actions is None else {"actions": self.actions.contiguous()}
        save_file({"tokens": samples.tokens, "labels": self.labels, **tensors}, folder / "samples.safetensors")
        return {
            "samples": self.task.count,
            "classes": self.class_names(),
            "frames": self.frames,
            "trained_frames": self.loaded.spec.frames(self.loaded.spec.grid[0]),
            "context_frames": samples.context,
            "fps": self.fps,
            **samples.record(),
            "seconds_per_frame": round(samples.seconds_per_frame, 5),
            "first_frame_seconds": round(samples.first_frame_seconds, 5),
        }


COMMAND = VideoSampling
