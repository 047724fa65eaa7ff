"""Clips from a loaded generator: frame after frame, longer than those it was trained on if so wanted, each frame shown
as soon as it is finished, so that a person can watch, and steer.

What `sampling.samples` is for images. Sample i depends on (seed, i), its label, its context and its actions alone.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.modality import modality_of
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.paradigms import Request, SampleOptions, State
from mmgen.sampling.samples import check_request, follow, pick_mode, requests, require_tokenizer
from mmgen.store.store import Loaded
from mmgen.tokenizers import Tokenizer

Actions = Tensor | Callable[[int], Tensor]
"""What leads to each frame: (B, T) int64, -1 where unknown; or a function that is asked for those of one frame, (B,),
just before it is generated.
"""

_AT_ONCE = 8  # latents decoded together, so that memory stays bounded where a whole clip is finished at the same time


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames that are finished, of the clips that run side by side.

    Args:
        rows: which clips.
        start: number of the first of these frames.
        clip: (b, C, t, H, W) in [-1, 1], on the CPU.
        state: of the sampler, just after they were finished.
    """

    rows: slice
    start: int
    clip: Tensor
    state: State

    @property
    def stop(self) -> int:
        """Number of the frame after the last of these."""
        return self.start + self.clip.shape[2]


@dataclass(frozen=True, eq=False)
class VideoSamples:
    """What came out, on the CPU.

    Args:
        clips: (B, C, T, H, W) in [-1, 1], the context included.
        tokens: (B, N) int64, (B, N, Q) residual ones, or (B, N, C) continuous ones.
        spec: of these tokens: grid and frames of clips of this length.
        context: frames at the beginning of each clip that were given.
        steps: states that the slowest batch went through.
        forward_passes: of the backbone, one after the other, for the slowest batch; a guided one is a doubled batch and
            counts once.
        seconds: wall clock for all batches, encoding and decoding included.
        first_frame_seconds: from the start to the first generated frame as pixels.
    """

    clips: Tensor
    tokens: Tensor
    spec: TokenSpec
    context: int
    steps: int
    forward_passes: int
    seconds: float
    first_frame_seconds: float

    @property
    def seconds_per_frame(self) -> float:
        """Wall clock a generated frame of one clip."""
        return self.seconds / (len(self.clips) * max(1, self.clips.shape[2] - self.context))


def sample_clips(
    loaded: Loaded,
    mode: str | None,
    labels: Tensor,
    options: SampleOptions,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 16,
    frames: int | None = None,
    context: Tensor | None = None,
    actions: Actions | None = None,
    progress: Callable[[float], None] | None = None,
) -> VideoSamples:
    """Draw one clip for each label: `stream_clips`, to the end.

    Arguments and errors as there.
    """
    started, first = time.perf_counter(), None
    parts = stream_clips(
        loaded, mode, labels, options, seed, first_sample, batch, frames, context, actions, progress
    )  # fmt: skip
    spec, given = clip_spec(loaded, frames), 0 if context is None else context.shape[2]
    channels, _, height, width = require_tokenizer(loaded).sample_shape
    length = spec.frames(spec.grid[0])
    clips, last = torch.empty(len(labels), channels, length, height, width), []
    for part in parts:
        clips[part.rows, :, part.start : part.stop] = part.clip
        if first is None and part.stop > given:
            first = time.perf_counter() - started
        if part.stop == length:
            last.append(part.state)
    seconds = time.perf_counter() - started
    return VideoSamples(
        clips,
        tokens=torch.cat([state.tokens.cpu() for state in last]),
        spec=spec,
        context=given,
        steps=max(state.step for state in last),
        forward_passes=max(state.forward_passes for state in last),
        seconds=seconds,
        first_frame_seconds=seconds if first is None else first,
    )


def stream_clips(
    loaded: Loaded,
    mode: str | None,
    labels: Tensor,
    options: SampleOptions,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 16,
    frames: int | None = None,
    context: Tensor | None = None,
    actions: Actions | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Frames]:
    """Clips while they are made: frames in order, each as soon as it is finished and decoded, the context first.

    A tokenizer that streams decodes latent after latent with carried state, so that nothing grows with the length but
    the tokens; another decodes all frames at the end.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        mode: one of `loaded.paradigm.modes()`; may be None where there is only one.
        labels: (B,) int64 class of each sample, -1 for none.
        options: steps, guidance, decoding and noise on the context.
        seed: with the sample's number, the key of all its randomness.
        first_sample: the number of the first one.
        batch: clips at a time.
        frames: of each clip; those of training by default.
        context: (B, C, K, H, W) in [-1, 1], frames that each clip begins with; they are encoded, and kept.
        actions: (B, frames) int64, entry t leads to frame t, -1 where unknown; or a function that is asked for those of
            one frame, (B,), just before it is generated. Where latents are frames one to one.
        progress: called after each state with the number of samples that are done; a started one counts by its tokens.

    Raises:
        UserError: as `samples.sample_images`; or the model makes images, the context does not fit the clips, or
            the actions do not fit the model.
    """
    paradigm, tokenizer = pick_mode(loaded, mode), require_tokenizer(loaded)
    spec = clip_spec(loaded, frames)
    check_request(loaded, labels, options, batch)
    check_context(tokenizer, spec, len(labels), context)
    check_actions(loaded, spec, len(labels), actions)
    if callable(actions) and len(labels) > batch:
        raise UserError(f"{len(labels)} clips that are steered while they run need a batch as large, got {batch}")

    def run() -> Iterator[Frames]:
        for rows, request in requests(loaded, labels, seed, first_sample, batch):
            steered = _of_rows(actions, rows, loaded.generator.device)
            given = request.conditions if steered is None else {**request.conditions, "actions": steered}
            request = replace(request, grid=spec.grid, conditions=given)
            if context is not None:
                first = tokenizer.encode(context[rows].to(loaded.generator.device))
                request = begin_with(request, first, spec)
            states = follow(paradigm, loaded, request, options, rows.start, progress)
            yield from _decoded(states, tokenizer, spec, rows)

    return run()


def clip_spec(loaded: Loaded, frames: int | None = None) -> TokenSpec:
    """The tokens of clips of so many frames, those of training by default. Raises UserError where it makes images."""
    if loaded.spec.modality != "video":
        raise UserError(f"{loaded.path} generates {modality_of(loaded.spec.modality).plural}, not clips")
    return loaded.spec if frames is None else loaded.spec.with_frames(frames)


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


def check_actions(loaded: Loaded, spec: TokenSpec, count: int, actions: Actions | None) -> None:
    """Raises UserError unless the model knows actions, and these are (count, frames) of its own or a function."""
    known = loaded.generator.actions
    if actions is None:
        return
    if not known:
        raise UserError(f"{loaded.path} was trained without actions, so it cannot follow any")
    if callable(actions):
        return
    if actions.shape != (count, spec.grid[0]):
        raise UserError(f"actions must be of shape ({count}, {spec.grid[0]}), one a frame, got {tuple(actions.shape)}")
    _check_known(loaded, actions)


def begin_with(request: Request, tokens: Tokens, spec: TokenSpec) -> Request:
    """The request with its first frames given.

    Args:
        request: B clips.
        tokens: (B, n) or (B, n, C), of the first latents along time, on the request's device.
        spec: of the whole clips.
    """
    values = tokens.values
    count, rest = values.shape[1], spec.length - values.shape[1]
    keep = torch.arange(spec.length, device=values.device) < count
    known = F.pad(values, (0, 0) * (values.dim() - 2) + (0, rest))
    return replace(request, known=known, keep=keep.expand(len(values), -1))


def _check_known(loaded: Loaded, actions: Tensor) -> None:
    wrong = actions[(actions < -1) | (actions >= loaded.generator.actions)]
    if len(wrong):
        highest = loaded.generator.actions - 1
        raise UserError(f"action {int(wrong[0])} is out of range: {loaded.path} knows actions 0 to {highest}")


def _of_rows(actions: Actions | None, rows: slice, device: torch.device) -> Actions | None:
    if actions is None or callable(actions):
        return actions
    return actions[rows].to(device)


def _decoded(states: Iterator[State], tokenizer: Tokenizer, spec: TokenSpec, rows: slice) -> Iterator[Frames]:
    """Frames as the states finish them."""
    latents, height, width = spec.grid
    places, frame = height * width, 0
    try:
        stream = tokenizer.streaming()
    except UserError:  # it looks ahead
        stream = None
    for state, start, stop in _finished(states, latents, places):
        if stream is None:
            if stop == latents:
                yield Frames(rows, 0, tokenizer.decode(Tokens(state.tokens, spec.grid)).float().cpu(), state)
            continue
        for begin in range(start, stop, _AT_ONCE):
            end = min(begin + _AT_ONCE, stop)
            tokens = Tokens(state.tokens[:, begin * places : end * places], (end - begin, height, width))
            until = spec.frames(end)
            yield Frames(rows, frame, stream.decode(tokens, until - frame).float().cpu(), state)
            frame = until


def _finished(states: Iterator[State], latents: int, places: int) -> Iterator[tuple[State, int, int]]:
    """Each state after which more latents at the beginning are final in all rows, and which ones (from, to)."""
    done = 0
    for state in states:
        start = done
        while done < latents and bool(state.committed[:, done * places : (done + 1) * places].all()):
            done += 1
        if done > start:
            yield state, start, done
