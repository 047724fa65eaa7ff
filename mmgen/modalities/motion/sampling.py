"""Motions from a loaded generator: classes or texts to features of joints, whole or while they are made.

What `sampling.samples` is for images, `video.sampling` for clips and `speech.sampling` for sounds. Sample i depends on
(seed, i), its class, its text, its length and what is kept of it alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.modality import modality_of
from mmgen.core.tokens import Tokens
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.paradigms import Paradigm, Request, SampleOptions, State
from mmgen.sampling.rows import ended_tokens, row_lengths
from mmgen.sampling.samples import check_request, follow, pick_mode, requests, require_tokenizer
from mmgen.sampling.texts import text_values
from mmgen.store.store import Loaded


@dataclass(frozen=True, eq=False)
class MotionSamples:
    """What was made, on the CPU.

    Args:
        features: one a motion, (D, T) raw features of its own length, at least a token long.
        fps: frames a second of them.
        tokens: (B, N) int64, (B, N, Q) residual ones, or (B, N, C) continuous ones; 0 behind the end.
        lengths: (B,) int64 frames of each motion.
        steps: states that the slowest batch went through.
        forward_passes: of the backbone, one after the other, for the slowest batch; a guided one is a doubled batch and
            counts once.
        seconds: wall clock for all batches, decoding included.
    """

    features: list[Tensor]
    fps: float
    tokens: Tensor
    lengths: Tensor
    steps: int
    forward_passes: int
    seconds: float

    @property
    def joints(self) -> list[Tensor]:
        """One a motion, (T, J, 3) in metres."""
        return [features_to_joints(each.mT) for each in self.features]

    @property
    def moved_seconds(self) -> float:
        """How long all motions are together."""
        return int(self.lengths.sum()) / self.fps


@dataclass(frozen=True, eq=False)
class Poses:
    """Frames that are finished, of the motions that are made side by side.

    Args:
        rows: which motions.
        start: number of the first frame.
        features: (b, D, t) raw features, on the CPU; what stands behind the end of a row means nothing.
        lengths: (b,) int64 frames of each row, as far as is known: all that there is room for, as long as it goes on.
        state: of the sampler, just after they were finished.
    """

    rows: slice
    start: int
    features: Tensor
    lengths: Tensor
    state: State

    @property
    def stop(self) -> int:
        """Number of the frame after the last one."""
        return self.start + self.features.shape[2]


def sample_motion(
    loaded: Loaded,
    mode: str | None,
    labels: Tensor,
    texts: Sequence[str] | None = None,
    options: SampleOptions | None = None,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 16,
    lengths: Tensor | None = None,
    known: Tensor | None = None,
    keep: Tensor | None = None,
    progress: Callable[[float], None] | None = None,
) -> MotionSamples:
    """Make a motion of each class, or of each text.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        mode: one of `loaded.paradigm.modes()`; may be None where there is only one.
        labels: (B,) int64 class of each motion, -1 for none.
        texts: what each of them is to show; None for a generator that reads no text.
        options: steps, guidance and decoding; the default ones if None.
        seed: with the motion's number, the key of all its randomness.
        first_sample: the number of the first one.
        batch: motions at a time.
        lengths: (B,) int64 frames of each motion; by default it ends by itself where it can, and is as long as the
            clips of training where it cannot.
        known: (B, N, ...) tokens, of which `keep` says which ones stand (in-betweening, editing).
        keep: (B, N) bool.
        progress: called after each state with the number of motions that are done; a started one counts by its tokens.

    Raises:
        UserError: as `samples.sample_images`; or the generator makes no motion, a text has characters that it
            does not know or is too long, or a length is not one of 1 to that of the clips of training.
    """
    started = time.perf_counter()
    task = _Task.of(loaded, mode, labels, texts, options, batch, lengths, known, keep)
    features: list[Tensor] = []
    last: list[State] = []
    for rows, request in task.requests(seed, first_sample, batch):
        for state in follow(task.paradigm, loaded, request, task.options, rows.start, progress):
            final = state
        last.append(final)
        features += task.decode(final, rows)
    return MotionSamples(
        features,
        task.tokenizer.fps,
        torch.cat([ended_tokens(state.tokens, row_lengths(state)).cpu() for state in last]),
        torch.tensor([each.shape[1] for each in features]),
        steps=max(state.step for state in last),
        forward_passes=max(state.forward_passes for state in last),
        seconds=time.perf_counter() - started,
    )


def stream_motion(
    loaded: Loaded,
    mode: str | None,
    labels: Tensor,
    texts: Sequence[str] | None = None,
    options: SampleOptions | None = None,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 16,
    lengths: Tensor | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Poses]:
    """Make motions, and hand out their frames in order as soon as their tokens are final.

    All frames of a row together are those of `sample_motion`. Modes that finish everything at the end yield once, and
    so do tokenizers that need the whole. Arguments as for `sample_motion`.

    Raises:
        UserError: as `sample_motion` does, at once.
    """
    task = _Task.of(loaded, mode, labels, texts, options, batch, lengths, None, None)

    def run() -> Iterator[Poses]:
        for rows, request in task.requests(seed, first_sample, batch):
            yield from task.stream(follow(task.paradigm, loaded, request, task.options, rows.start, progress), rows)

    return run()


def require_motion_tokenizer(loaded: Loaded) -> MotionTokenizer:
    """The tokenizer of motions. Raises UserError where the run has none, or one of something else."""
    tokenizer = require_tokenizer(loaded)
    if not isinstance(tokenizer, MotionTokenizer):
        raise UserError(f"{loaded.path} generates {modality_of(loaded.spec.modality).plural}, not motions")
    return tokenizer


@dataclass(frozen=True, eq=False)
class _Task:
    """What is to be made, checked.

    Args:
        loaded: whose generator moves.
        paradigm: one of its modes.
        tokenizer: its own.
        options: of sampling.
        labels: (B,) int64.
        conditions: name -> values (B, ...) of its texts.
        asked: (B,) int64 frames of each; None where they end by themselves, or all are as long as can be.
        known: (B, N, ...) tokens that are given; None where none are.
        keep: (B, N) bool, which of them.
    """

    loaded: Loaded
    paradigm: Paradigm
    tokenizer: MotionTokenizer
    options: SampleOptions
    labels: Tensor
    conditions: dict[str, Tensor]
    asked: Tensor | None
    known: Tensor | None
    keep: Tensor | None

    @classmethod
    def of(
        cls,
        loaded: Loaded,
        mode: str | None,
        labels: Tensor,
        texts: Sequence[str] | None,
        options: SampleOptions | None,
        batch: int,
        lengths: Tensor | None,
        known: Tensor | None,
        keep: Tensor | None,
    ) -> "_Task":
        paradigm, tokenizer, options = (
            pick_mode(loaded, mode),
            require_motion_tokenizer(loaded),
            options or SampleOptions(),
        )
        check_request(loaded, labels, options, batch)
        longest = loaded.spec.frames(loaded.spec.grid[0])
        if lengths is not None and not 1 <= int(lengths.min()) <= int(lengths.max()) <= longest:
            raise UserError(
                f"motions have 1 to {longest} frames in {loaded.path}, got {int(lengths.min())} to {int(lengths.max())}"
            )
        conditions = text_values(loaded, texts or [""] * len(labels))
        return cls(loaded, paradigm, tokenizer, options, labels, conditions, lengths, known, keep)

    def requests(self, seed: int, first_sample: int, batch: int) -> Iterator[tuple[slice, Request]]:
        """As `mmgen.sampling.samples.requests`."""
        device = self.loaded.generator.device
        for rows, request in requests(
            self.loaded, self.labels, seed, first_sample, batch, self.known, self.keep, self.conditions
        ):
            if self.asked is not None:
                request = replace(request, lengths=self._tokens(rows).to(device))
            yield rows, request

    def _tokens(self, rows: slice) -> Tensor:
        """(b,) int64 tokens of each row, as they are asked for."""
        assert self.asked is not None
        return (self.asked[rows] + self.tokenizer.spec.stride - 1) // self.tokenizer.spec.stride

    def lengths(self, state: State, rows: slice) -> Tensor:
        """(b,) int64 tokens of each row, on the CPU."""
        return row_lengths(state).cpu() if self.asked is None else self._tokens(rows)

    def frames(self, state: State, rows: slice) -> Tensor:
        """(b,) int64 frames of each row, of a token at least: one that ended at once stands still."""
        stride = self.tokenizer.spec.stride
        return (self.lengths(state, rows) * stride).clamp_min(stride) if self.asked is None else self.asked[rows]

    @torch.no_grad()
    def decode(self, state: State, rows: slice) -> list[Tensor]:
        """(D, T) features of each row, on the CPU."""
        frames, tokens = self.frames(state, rows), ended_tokens(state.tokens, row_lengths(state))
        if self.tokenizer.causal or len(set(frames.tolist())) == 1:
            longest = self.loaded.spec.latents(int(frames.max()))
            whole = self.tokenizer.decode(Tokens(tokens[:, :longest], (longest, 1, 1))).float().cpu()
            return [row[:, :count] for row, count in zip(whole, frames.tolist(), strict=True)]
        # What stands behind a row's end would change its last frames, which no causal decoder lets happen.
        each = [(row, self.loaded.spec.latents(count), count) for row, count in zip(tokens, frames.tolist())]
        return [self.tokenizer.decode(Tokens(row[None, :n], (n, 1, 1)), t)[0].float().cpu() for row, n, t in each]

    @torch.no_grad()
    def stream(self, states: Iterator[State], rows: slice) -> Iterator[Poses]:
        """Frames as the states finish them."""
        stride, done = self.tokenizer.spec.stride, 0
        try:
            stream = self.tokenizer.streaming()
        except UserError:  # it looks ahead
            stream = None
        for state in states:
            longest = max(1, int(self.lengths(state, rows).max()))
            stop = min(int(state.committed.all(0).cumprod(0).sum()), longest)
            if stop <= done or (stream is None and stop < longest):
                continue
            part = ended_tokens(state.tokens, row_lengths(state))[:, done:stop]
            tokens = Tokens(part, (stop - done, 1, 1))
            features = self.tokenizer.decode(tokens) if stream is None else stream.decode(tokens)
            yield Poses(rows, done * stride, features.float().cpu(), self.frames(state, rows), state)
            done = stop
