"""Clips from a loaded generator: frame after frame, longer than those it was trained on if so wanted, each frame shown
as soon as it is finished, so that a person can watch, and steer.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.sampling.pieces import Piece, stream_pieces
from mmgen.sampling.samples import Samples, SamplingTask, require_tokenizer
from mmgen.tokenizers import Tokenizer

_AT_ONCE = 8  # latents decoded together, so that memory stays bounded where a whole clip is finished at the same time


@dataclass(frozen=True, eq=False)
class VideoSamples(Samples):
    """Clips, on the CPU.

    Args:
        clips: (B, C, T, H, W) in [-1, 1], the context included.
        context: frames at the beginning of each clip that were given.
        first_frame_seconds: from the start to the first generated frame as pixels.
    """

    clips: Tensor
    context: int
    first_frame_seconds: float

    @property
    def seconds_per_frame(self) -> float:
        """Wall clock a generated frame of one clip."""
        return self.seconds / (len(self.clips) * max(1, self.clips.shape[2] - self.context))


def sample_clips(task: SamplingTask, context: Tensor | None = None) -> VideoSamples:
    """Draw clips: `stream_clips`, to the end. Arguments and errors as there."""
    started, first = time.perf_counter(), None
    parts, length = stream_clips(task, context), task.spec.frames(task.spec.grid[0])
    given = 0 if context is None else context.shape[2]
    channels, _, height, width = task.tokenizer.sample_shape
    clips, last = torch.empty(task.count, channels, length, height, width), []
    for part in parts:
        clips[part.rows, :, part.start : part.stop] = part.values
        if first is None and part.stop > given:
            first = time.perf_counter() - started
        if part.stop == length:
            last.append((part.rows, part.state))
    seconds = time.perf_counter() - started
    first = seconds if first is None else first
    return VideoSamples(**task.totals(last, seconds), clips=clips, context=given, first_frame_seconds=first)


def stream_clips(task: SamplingTask, context: Tensor | None = None) -> Iterator[Piece]:
    """Clips while they are made: frames in order, each as soon as it is finished and decoded, the context first.

    Args:
        task: which ones. The condition `actions` is (B, frames) int64, entry t leads to frame t, -1 where unknown; or a
            function that is asked for those of one frame, (B,), just before it is generated.
        context: (B, C, K, H, W) in [-1, 1], frames that each clip begins with; they are encoded, and kept.

    Raises:
        UserError: the run makes no clips, the context does not fit them, or clips that a function steers need several
            batches.
    """
    require_tokenizer(task.loaded, "video")
    check_context(task.tokenizer, task.spec, task.count, context)
    if any(map(callable, task.values.values())) and task.count > task.batch:
        raise UserError(f"{task.count} clips that are steered while they run need a batch as large, got {task.batch}")
    if context is not None:
        device = task.loaded.generator.device
        parts = [task.tokenizer.encode(part.to(device)).values for part in context.split(task.batch)]
        known, keep = begin_with(torch.cat(parts), task.spec)
        task = replace(task, known=known, keep=keep)
    return stream_pieces(task, most=_AT_ONCE)


def check_context(tokenizer: Tokenizer, spec: TokenSpec, count: int, context: Tensor | None) -> None:
    """Raises UserError unless (count, C, K, H, W) can begin clips of that spec."""
    if context is None:
        return
    channels, _, height, width = tokenizer.sample_shape
    frames, given = spec.frames(spec.grid[0]), context.shape[2] if context.ndim == 5 else 0
    if context.shape != (count, channels, given, height, width):
        expected = f"({count}, {channels}, frames, {height}, {width})"
        raise UserError(f"the context must be of shape {expected}, got {tuple(context.shape)}")
    if not 1 <= given < frames:
        raise UserError(f"a context of {given} frames does not begin clips of {frames}: it must be shorter than these")
    if (frames - given) % spec.stride:
        longer = frames + (given - frames) % spec.stride
        raise UserError(
            f"{given} context frames end within a latent of {spec.stride} frames in a clip of {frames}: give"
            f" {spec.first} and a multiple of {spec.stride}, or make clips of {longer} frames"
        )


def begin_with(values: Tensor, spec: TokenSpec) -> tuple[Tensor, Tensor]:
    """Known tokens (B, N, ...) of clips whose first latents along time are given as tokens (B, n, ...), and which ones
    they are, (1, N) bool.
    """
    count = values.shape[1]
    known = F.pad(values, (0, 0) * (values.dim() - 2) + (0, spec.length - count))
    return known, torch.arange(spec.length, device=values.device)[None] < count
