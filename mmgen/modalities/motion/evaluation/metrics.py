"""Figures of motions, each a function of joints (T, J, 3) in metres, or of features (N, F) that a network makes of sets
of motions.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.modalities.motion.skeleton import Skeleton

POOL = 32
"""Motions among which a text looks for its own, as published."""

TOPS = (1, 2, 3)
"""How many guesses it has."""

_LOW, _SLIDES, _WINDOW = 0.05, 0.5, 5  # metres; metres a second; frames

FOOT_SKATE = (
    f"share of frames in which the toes of a foot are below {100 * _LOW:g} cm and move faster than {_SLIDES:g} m/s"
    f" along the floor, then and on average over {_WINDOW} frames (Karunratanakul et al. 2023)"
)
JERK = "mean norm of the third derivative of joints, m/s^3"
"""What protocols say."""


def foot_skate(joints: Tensor, skeleton: Skeleton, fps: float) -> float | None:
    """How often a foot slides that should stand, 0 to 1: the foot skating ratio of GMD (Karunratanakul et al. 2023),
    2.5 cm a frame at 20 frames a second. None for fewer than two frames.
    """
    if len(joints) < 2:
        return None
    toes = joints[:, [skeleton.feet[1], skeleton.feet[3]]]
    speed = fps * toes[..., [0, 2]].diff(dim=0).norm(dim=-1)
    around = F.avg_pool1d(speed.T, _WINDOW, stride=1, padding=_WINDOW // 2).T  # beyond the ends it stands, as published
    low = toes[..., 1] < _LOW
    slides = low[:-1] & low[1:] & (speed > _SLIDES) & (around > _SLIDES)
    return slides.any(1).double().mean().item()


def jerk(joints: Tensor, fps: float) -> float | None:
    """How abruptly joints move, in m/s^3: 0 under constant acceleration. None for fewer than four frames."""
    if len(joints) < 4:
        return None
    return (fps**3 * joints.double().diff(n=3, dim=0).norm(dim=-1).mean()).item()


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of those that there are; None where there are none."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def diversity(features: Tensor) -> float | None:
    """Mean distance of all pairs of rows (N, F): 0 where all are the same. None for fewer than two."""
    return F.pdist(features.double()).mean().item() if len(features) > 1 else None


def multimodality(features: Tensor, labels: Tensor) -> float | None:
    """How much motions of one class differ: the mean over classes of the mean distance of all pairs.

    Args:
        features: (N, F).
        labels: (N,) int64; negative ones are no class.

    Returns:
        None where no class has two motions.
    """
    return mean_of([diversity(features[labels == label]) for label in labels[labels >= 0].unique()])


def retrieval(texts: Tensor, motions: Tensor, captions: Sequence[str], pool: int = POOL) -> dict[str, float]:
    """How well texts and motions find each other in the space that they share.

    Every text looks for its own motion by Euclidean distance among `pool` of them, in order; motions of the same text
    do not count against one another, and those at the same distance do. Those that fill no pool are left out, unless
    there is none that is full.

    Args:
        texts: (N, F) features.
        motions: (N, F) features, row by row of the same samples.
        captions: the texts, which tell the same ones.
        pool: motions that a text looks among.

    Returns:
        `r_precision_1`, `_2` and `_3`: share of texts whose own motion is among the nearest 1, 2 and 3; by chance these
        are k / pool. `matching_score`: mean distance of a text and its motion.
    """
    pool = min(pool, len(texts))
    ranks = []
    for start in range(0, len(texts) - pool + 1, pool):
        rows = slice(start, start + pool)
        distances = torch.cdist(
            texts[rows].double(), motions[rows].double(), compute_mode="donot_use_mm_for_euclid_dist"
        )
        same = torch.tensor([[one == other for other in captions[rows]] for one in captions[rows]])
        before = (distances <= distances.diagonal()[:, None]) & ~same
        ranks.append(before.sum(1))
    rank = torch.cat(ranks)
    found = {f"r_precision_{top}": (rank < top).double().mean().item() for top in TOPS}
    return found | {"matching_score": (texts - motions).double().norm(dim=1).mean().item()}
