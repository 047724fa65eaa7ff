"""What `mmgen sample` does for a run that makes clips."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.media.images import comfortable, enlarge, save_png
from mmgen.media.video import contact_sheet, mp4_bytes, tile_clips, write_gif, write_mp4
from mmgen.modalities.video.actions import clip_actions
from mmgen.modalities.video.context import HELD_OUT, Context, file_context, held_out_context, is_image
from mmgen.modalities.video.sampling import check_actions, check_context, clip_spec, sample_clips
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import check_count, check_request, class_labels, require_tokenizer, tokens_per_forward
from mmgen.store.store import Loaded

_FPS = 8.0  # where the run does not say


class VideoSampling:
    """Clips that are asked for, then drawn, then written.

    Args:
        loaded: the run.
        arguments: of the command.

    Raises:
        UserError: something that is asked for cannot be done.
    """

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        self.loaded, self.arguments, self.options = loaded, arguments, sample_options(arguments)
        self.count = 8 if arguments["num"] is None else arguments["num"]
        self.batch = 16 if arguments["batch"] is None else arguments["batch"]
        check_count(self.count, self.batch)
        self.fps = (loaded.facts.fps or _FPS) if arguments["fps"] is None else arguments["fps"]
        mp4_bytes(torch.zeros(1, 1, 2, 2), self.fps)  # whether the results can be written, before hours go into them
        self.spec = clip_spec(loaded, arguments["frames"])
        self.frames = self.spec.frames(self.spec.grid[0])
        context = self._context(arguments["context"], arguments["context_frames"])
        self.context = None if context is None else context.frames
        self.labels = self._labels(context)
        check_request(loaded, self.labels, self.options, self.batch)
        check_context(require_tokenizer(loaded), self.spec, self.count, self.context)
        given = 0 if context is None else context.frames.shape[2]
        self.recorded = None if context is None else context.actions
        self.recordings = None if context is None else context.clips
        self.actions = clip_actions(arguments["actions"], loaded, self.count, self.frames, given, self.recorded)
        check_actions(loaded, self.spec, self.count, self.actions)

    def _context(self, named: str | None, frames: int | None) -> Context | None:
        if named is None:
            if frames is not None:
                raise UserError("--context_frames needs --context: the video, image or held_out clips to begin with")
            return None
        count = frames if frames is not None else 1 if is_image(named) else self.spec.first
        if not 1 <= count < self.frames:
            raise UserError(
                f"--context_frames {count} must lie between 1 and {self.frames - 1} in clips of {self.frames}"
            )
        if named == HELD_OUT:
            return held_out_context(self.loaded, self.count, count)
        return file_context(named, self.loaded, self.count, count, self.loaded.facts.fps or self.fps)

    def _labels(self, context: Context | None) -> Any:
        """The classes that are named; else those of the clips that the samples begin with; else all in turn."""
        named = self.arguments["class_"]
        if named is None and context is not None and context.labels is not None and self.loaded.generator.classes:
            return context.labels
        return class_labels([name.strip() for name in named.split(",")] if named else [], self.count, self.loaded)

    def draw(self) -> None:
        """Run the sampler."""
        with progress_bar("sampling", self.count) as progress:
            self.sampled = sample_clips(
                self.loaded,
                self.arguments["mode"],
                self.labels,
                self.options,
                self.arguments["seed"],
                batch=self.batch,
                frames=self.frames,
                context=self.context,
                actions=self.actions,
                progress=progress,
            )

    def write(self, folder: Path) -> dict[str, Any]:
        """All files but the record; returns what is to be recorded."""
        sampled, clips, names = self.sampled, self.sampled.clips, self.loaded.facts.class_names
        together = tile_clips(enlarge(clips, comfortable(clips)))
        write_mp4(together, folder / "grid.mp4", self.fps)
        write_gif(together, folder / "grid.gif", self.fps)
        save_png(contact_sheet(enlarge(clips, comfortable(clips, 56))), folder / "sheet.png")
        for number, clip in enumerate(clips):
            write_mp4(clip, folder / f"{number:0{len(str(self.count - 1))}d}.mp4", self.fps)
        for number, clip in enumerate(self.recordings if self.recordings is not None else ()):
            write_mp4(clip, folder / f"{number:0{len(str(self.count - 1))}d}.real.mp4", self.fps)
        told = {} if self.actions is None else {"actions": self.actions.contiguous()}
        save_file({"tokens": sampled.tokens, "labels": self.labels, **told}, folder / "samples.safetensors")
        return {
            "samples": self.count,
            "classes": [names[label] if 0 <= label < len(names) else None for label in self.labels.tolist()],
            "frames": self.frames,
            "trained_frames": self.loaded.spec.frames(self.loaded.spec.grid[0]),
            "context_frames": sampled.context,
            "fps": self.fps,
            "steps": sampled.steps,
            "forward_passes": sampled.forward_passes,
            "tokens_per_forward": round(tokens_per_forward(sampled.tokens.shape[1], sampled.forward_passes), 4),
            "seconds": round(sampled.seconds, 3),
            "seconds_per_sample": round(sampled.seconds / self.count, 5),
            "seconds_per_frame": round(sampled.seconds_per_frame, 5),
            "first_frame_seconds": round(sampled.first_frame_seconds, 5),
        }
