"""Figures of in-betweening: the middle third of held-out motions, made anew between its two ends."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.tokens import TokenSpec
from mmgen.evaluation.command import Metric, ModeSampling
from mmgen.modalities.motion.evaluation.generator import Real
from mmgen.modalities.motion.features import features_to_joints, pose_errors
from mmgen.modalities.motion.sampling import require_motion_tokenizer, sample_motion

_WORDS = "joints in the middle third, roots put upon each other in every frame, mean over {count} motions"


@dataclass(frozen=True, eq=False)
class Gaps:
    """The middle thirds of motions, in whole tokens, of those that have at least three."""

    real: Real  # these motions
    start: Tensor  # (n,) int64 tokens before the gap
    stop: Tensor  # (n,) int64 tokens before what follows it
    stride: int  # frames a token

    @classmethod
    def of(cls, real: Real, spec: TokenSpec) -> "Gaps":
        """Of all motions that are long enough; perhaps of none."""
        tokens = torch.tensor([spec.latents(length) for length in real.lengths.tolist()])
        index = (tokens >= 3).nonzero()[:, 0]
        return cls(real.rows(index), tokens[index] // 3, 2 * tokens[index] // 3, spec.stride)

    def __len__(self) -> int:
        return len(self.real)

    def keep(self, count: int) -> Tensor:
        """(n, count) bool, False in the gap."""
        place = torch.arange(count)
        return (place < self.start[:, None]) | (place >= self.stop[:, None])

    def error_mm(self, made: list[Tensor]) -> float:
        """How far joints (T, J, 3) are from the real ones within the gaps, in millimetres."""
        errors = []
        for row, (motion, real) in enumerate(zip(made, _joints(self.real.motions), strict=True)):
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
    for joints, start, stop in zip(_joints(gaps.real.motions), gaps.start.tolist(), gaps.stop.tolist()):
        made.append(with_straight_lines(joints, start * gaps.stride, stop * gaps.stride))
    how = {"inbetween": _WORDS.format(count=len(gaps))}
    return [Metric("inbetween_linear_mm", gaps.error_mm(made), protocol=how)]


def with_straight_lines(joints: Tensor, start: int, stop: int) -> Tensor:
    """Joints (T, J, 3) that go straight and evenly from the frame before the gap, which begins at frame `start` > 0, to
    the frame `stop` behind it.
    """
    before, after = start - 1, stop
    way = rearrange(torch.linspace(0, 1, after - before + 1).to(joints), "t -> t 1 1")
    return torch.cat([joints[:before], torch.lerp(joints[before], joints[after], way), joints[after + 1 :]])


@torch.no_grad()
def measure_inbetween(sampling: ModeSampling, gaps: Gaps) -> list[Metric]:
    """`inbetween_mm` of a mode that fills gaps; nothing where no motion is long enough. Raises UserError for a mode
    that cannot keep what comes after a gap.
    """
    if not len(gaps):
        return []
    tokenizer, real, batch = require_motion_tokenizer(sampling.loaded), gaps.real, sampling.batch
    device = next(tokenizer.parameters()).device
    known = torch.cat([tokenizer.encode(x.to(device)).values.cpu() for x in real.x.split(batch)])
    keep = gaps.keep(known.shape[1])
    made = sample_motion(real.task(sampling, lengths=real.lengths, known=known, keep=keep))
    error = gaps.error_mm(_joints([motion.float().cpu() for motion in made.features]))
    return [Metric("inbetween_mm", error, protocol={"inbetween": _WORDS.format(count=len(gaps))})]


def _joints(motions: list[Tensor]) -> list[Tensor]:
    """(D, T) -> (T, J, 3)."""
    return [features_to_joints(motion.mT) for motion in motions]
