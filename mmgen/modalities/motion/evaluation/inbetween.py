"""Figures of in-betweening: the middle third of held-out motions, made anew between its two ends."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.progress import Progress
from mmgen.core.tokens import TokenSpec
from mmgen.evaluation.command import Metric
from mmgen.modalities.motion.distance import pose_errors
from mmgen.modalities.motion.evaluation.generator import Real
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.sampling import require_motion_tokenizer, sample_motion
from mmgen.paradigms import SampleOptions
from mmgen.store.store import Loaded

_WORDS = "joints in the middle third, roots put upon each other in every frame, mean over {count} motions"


@dataclass(frozen=True, eq=False)
class Gaps:
    """The middle thirds of motions, in whole tokens, of those that have at least three.

    Args:
        held: these motions.
        start: (n,) int64 tokens before the gap.
        stop: (n,) int64 tokens before what follows it.
        stride: frames a token.
    """

    held: Real
    start: Tensor
    stop: Tensor
    stride: int

    @classmethod
    def of(cls, held: Real, spec: TokenSpec) -> "Gaps":
        """Of all motions that are long enough; perhaps of none."""
        tokens = torch.tensor([spec.latents(length) for length in held.lengths.tolist()])
        index = (tokens >= 3).nonzero()[:, 0]
        return cls(held.rows(index), tokens[index] // 3, 2 * tokens[index] // 3, spec.stride)

    def __len__(self) -> int:
        return len(self.held)

    def keep(self, count: int) -> Tensor:
        """(n, count) bool, False in the gap."""
        place = torch.arange(count)
        return (place < self.start[:, None]) | (place >= self.stop[:, None])

    def error_mm(self, made: list[Tensor]) -> float:
        """How far joints (T, J, 3) are from the real ones within the gaps, in millimetres."""
        errors = []
        for row, (motion, real) in enumerate(zip(made, _joints(self.held.motions), strict=True)):
            gap = slice(int(self.start[row]) * self.stride, int(self.stop[row]) * self.stride)
            errors.append(pose_errors(motion[gap], real[gap]).mean().item())
        return sum(errors) / len(errors)


def linear(gaps: Gaps) -> list[Metric]:
    """`inbetween_linear_mm`: every joint on a straight line, at constant speed, from the last frame before the gap to
    the first one behind it. Nothing where no motion is long enough.
    """
    if not len(gaps):
        return []
    made = []
    for joints, start, stop in zip(_joints(gaps.held.motions), gaps.start.tolist(), gaps.stop.tolist()):
        made.append(with_straight_lines(joints, start * gaps.stride, stop * gaps.stride))
    how = {"inbetween": _WORDS.format(count=len(gaps))}
    return [Metric("inbetween_linear_mm", gaps.error_mm(made), protocol=how)]


def with_straight_lines(joints: Tensor, start: int, stop: int) -> Tensor:
    """Joints (T, J, 3) that go straight and evenly from the frame before the gap to the one behind it.

    Args:
        joints: as they were.
        start: the gap's first frame, not that of the motion.
        stop: the frame behind the gap.
    """
    before, after = start - 1, stop
    way = rearrange(torch.linspace(0, 1, after - before + 1).to(joints), "t -> t 1 1")
    return torch.cat([joints[:before], torch.lerp(joints[before], joints[after], way), joints[after + 1 :]])


def measure_inbetween(
    loaded: Loaded,
    mode: str,
    gaps: Gaps,
    options: SampleOptions | None = None,
    seed: int = 0,
    batch: int = 16,
    progress: Progress | None = None,
) -> list[Metric]:
    """`inbetween_mm` of a mode that fills gaps; arguments and errors as of `filled`. Nothing where no motion is long
    enough.
    """
    if not len(gaps):
        return []
    made = filled(loaded, mode, gaps, options, seed, batch, progress)
    return [Metric("inbetween_mm", gaps.error_mm(made), protocol={"inbetween": _WORDS.format(count=len(gaps))})]


@torch.no_grad()
def filled(
    loaded: Loaded,
    mode: str,
    gaps: Gaps,
    options: SampleOptions | None = None,
    seed: int = 0,
    batch: int = 16,
    progress: Progress | None = None,
) -> list[Tensor]:
    """Joints (T, J, 3) of each motion, its gap made anew.

    Args:
        loaded: whose generator fills.
        mode: one of its modes.
        gaps: in held-out motions, of which there are some.
        options: of sampling.
        seed: with a motion's number, the key of its randomness.
        batch: motions at a time; changes nothing.
        progress: called with the number of motions that are done.

    Raises:
        UserError: the mode cannot keep what comes after a gap.
    """
    tokenizer, held = require_motion_tokenizer(loaded), gaps.held
    device = next(tokenizer.parameters()).device
    known = torch.cat([tokenizer.encode(x.to(device)).values.cpu() for x in held.x.split(batch)])
    moved = sample_motion(
        loaded, mode, held.labels, held.texts, options, seed, batch=batch, lengths=held.lengths, known=known,
        keep=gaps.keep(known.shape[1]), progress=progress,
    )  # fmt: skip
    return _joints([motion.float().cpu() for motion in moved.features])


def _joints(motions: list[Tensor]) -> list[Tensor]:
    """(D, T) -> (T, J, 3)."""
    return [features_to_joints(motion.mT) for motion in motions]
