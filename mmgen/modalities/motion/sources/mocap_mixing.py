"""People whose limbs come from several recorded clips: more poses than half a minute of recordings shows."""

from collections.abc import Sequence

from torch import Tensor

from mmgen.modalities.motion.kinematics import turned
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.humanoid3d import Stretch, posed

_PARTS = (
    ("spine1", "spine2", "spine3", "neck", "head"),
    ("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    ("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
    ("left_hip", "left_knee", "left_ankle", "left_foot"),
    ("right_hip", "right_knee", "right_ankle", "right_foot"),
)
"""What may come from another clip; the pelvis, and where it is, come with the clip that a sample is named for."""

PARTS = len(_PARTS)
_TURN = 0.15  # radians about each axis, standard deviation


def mixed(own: Stretch, times: Tensor, others: Sequence[tuple[Stretch, Tensor] | None], turns: Tensor) -> Tensor:
    """Joints (n, 22, 3) of a clip's person at some times, some of whose limbs move as in other clips.

    Args:
        own: the clip.
        times: (n,) in seconds from its beginning.
        others: for each of `PARTS`, the clip that it comes from and times (n,) of it; None for its own.
        turns: (22, 3) standard normal draws: by how much each joint is turned beside, all the time.
    """
    rotations = own.turned(times)
    for part, other in zip(_PARTS, others, strict=True):
        if other is not None:
            joints = [HUMANML3D.joints.index(name) for name in part]
            rotations[:, joints] = other[0].turned(other[1])[:, joints]
    return posed(own.at(times)[:, 0], turned(rotations, _TURN * turns.to(rotations))).float()
