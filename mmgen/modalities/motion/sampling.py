"""Motions from a loaded generator: classes or texts to features of joints, whole or while they are made."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.sampling.pieces import Piece, decode_rows, stream_pieces
from mmgen.sampling.samples import Samples, SamplingTask, require_tokenizer
from mmgen.store.store import Loaded


@dataclass(frozen=True, eq=False)
class MotionSamples(Samples):
    """Motions, on the CPU.

    Args:
        features: one a motion, (D, T) raw features of its own length, at least a token long.
        fps: frames a second of them.
    """

    features: list[Tensor]
    fps: float

    @property
    def frames(self) -> Tensor:
        """(B,) int64 frames of each motion."""
        return torch.tensor([each.shape[1] for each in self.features])

    @property
    def joints(self) -> list[Tensor]:
        """One a motion, (T, J, 3) in metres."""
        return [features_to_joints(each.mT) for each in self.features]


def sample_motion(task: SamplingTask) -> MotionSamples:
    """Make motions.

    Args:
        task: of which classes or texts. `lengths` are frames; by default a motion ends by itself where it can, and is
            as long as the clips of training where it cannot. `known` and `keep` are for in-betweening.

    Raises:
        UserError: the generator makes no motion.
    """
    started, tokenizer, last = time.perf_counter(), require_motion_tokenizer(task.loaded), []
    features: list[Tensor] = []
    for rows, states in task.run():
        *_, state = states
        last.append((rows, state))
        stride = tokenizer.spec.stride  # one that ended at once stands still for a token
        frames = (stride * task.token_lengths(state, rows)).clamp_min(stride)
        frames = frames if task.lengths is None else task.lengths[rows]
        features += decode_rows(tokenizer, state.tokens, frames.tolist())
    return MotionSamples(**task.totals(last, time.perf_counter() - started), features=features, fps=tokenizer.fps)


def stream_motion(task: SamplingTask) -> Iterator[Piece]:
    """Make motions, and hand out their features (b, D, t) in order as soon as their tokens are final; all together are
    those of `sample_motion`. Raises UserError as `sample_motion` does, at once.
    """
    require_motion_tokenizer(task.loaded)
    return stream_pieces(task, shortest=1)


def require_motion_tokenizer(loaded: Loaded) -> MotionTokenizer:
    """The tokenizer of motions. Raises UserError where the run has none, or one of something else."""
    tokenizer = require_tokenizer(loaded, "motion")
    assert isinstance(tokenizer, MotionTokenizer)
    return tokenizer
