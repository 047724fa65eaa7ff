"""The two skeletons that published motion models share: the joints' names, order, tree, and proportions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion import kinematics


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A tree of joints. y is up, z forward, x to the person's left; lengths are in metres.

    Args:
        name: how it is known.
        joints: the name of each; the root is the first, and parents come before their children.
        chains: paths of joints, each from one that an earlier path holds (or the root) to an end: the order in which
            the features find rotations.
        offsets: (J, 3), each joint from its parent in the rest pose of an adult of 1.7 m, arms spread.
        directions: (J, 3), the bones' directions that the published features count rotations from. They are no pose of
            a person (HumanML3D's head points forward), so that nothing else should use them.
        pairs: (left, right) joints that change places in a mirror.
        feet: left ankle, left foot, right ankle, right foot.
        across: right hip, left hip, right shoulder, left shoulder, which say where the body faces.
    """

    name: str
    joints: tuple[str, ...]
    chains: tuple[tuple[int, ...], ...]
    offsets: Tensor
    directions: Tensor
    pairs: tuple[tuple[int, int], ...]
    feet: tuple[int, int, int, int]
    across: tuple[int, int, int, int]

    def __repr__(self) -> str:
        return f"Skeleton({self.name!r}, joints={len(self)})"

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def features(self) -> int:
        """Numbers a frame in the features: 12 a joint, less one."""
        return 12 * len(self) - 1

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """The parent of each joint; -1 for the root."""
        parent_of = {child: parent for chain in self.chains for parent, child in zip(chain, chain[1:])}
        return tuple(parent_of.get(joint, -1) for joint in range(len(self)))

    def mirrored(self, joints: Tensor) -> Tensor:
        """Joints (..., J, 3) as a mirror at x = 0 shows them: what was done with the left is done with the right."""
        order = list(range(len(self)))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return joints[..., order, :] * joints.new_tensor([-1, 1, 1])

    def forward(self, root: Tensor, rotations: Tensor) -> Tensor:
        """Joints (..., J, 3) of the rest pose whose bones are turned, as `kinematics.forward`.

        Args:
            root: (..., 3), where the root is.
            rotations: (..., J, 4) unit quaternions (w, x, y, z), local: that of joint j turns the bones that begin
                in j.
        """
        return kinematics.forward(self.parents, self.offsets, root, rotations)

    def check(self, joints: Tensor, what: str = "a motion") -> None:
        """Raise a `UserError` that begins with `what` unless `joints` are finite positions (..., T, J, 3), T > 0."""
        if joints.ndim < 3 or joints.shape[-2:] != (len(self), 3) or not joints.numel():
            raise UserError(
                f"{what} of {self.name} is (frames, {len(self)} joints, 3), but this one is {tuple(joints.shape)}"
            )
        if not joints.isfinite().all():
            frame, joint = joints.isfinite().all(-1).logical_not().nonzero()[0, -2:].tolist()
            raise UserError(
                f"{what} holds positions that are not numbers (first in frame {frame}, {self.joints[joint]}); "
                "leave those frames out, or fill them in"
            )


def skeleton_of(joints: int) -> Skeleton:
    """The skeleton with that many joints.

    Raises:
        UserError: there is none.
    """
    return _the_one("joints", joints, {len(skeleton): skeleton for skeleton in (HUMANML3D, KIT)})


def skeleton_of_features(dims: int) -> Skeleton:
    """The skeleton whose features have that many numbers a frame.

    Raises:
        UserError: there is none.
    """
    return _the_one("numbers a frame", dims, {skeleton.features: skeleton for skeleton in (HUMANML3D, KIT)})


def _the_one(unit: str, count: int, skeletons: dict[int, Skeleton]) -> Skeleton:
    if count not in skeletons:
        known = " or ".join(f"{number} ({skeleton.name})" for number, skeleton in skeletons.items())
        raise UserError(f"no skeleton has {count} {unit}: motions have {known}")
    return skeletons[count]


def _axes(letters: str) -> Tensor:
    """Directions (J, 3) from a word each: `-y` is down, `0` the root's."""
    axes = {"0": (0, 0, 0), "x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1), "-x": (-1, 0, 0), "-y": (0, -1, 0)}
    return torch.tensor([axes[letter] for letter in letters.split()], dtype=torch.float32)


def _rest(*offsets: Sequence[float]) -> Tensor:
    return torch.tensor(offsets, dtype=torch.float32)


HUMANML3D = Skeleton(
    name="HumanML3D",
    joints=(
        "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
        "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    ),
    chains=((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20)),
    offsets=_rest(
        (0, 0, 0), (0.08, -0.09, 0), (-0.08, -0.09, 0), (0, 0.11, -0.02),  # pelvis, hips, spine1
        (0.01, -0.39, 0), (-0.01, -0.39, 0), (0, 0.13, 0),  # knees, spine2
        (0, -0.40, -0.03), (0, -0.40, -0.03), (0, 0.06, 0.02),  # ankles, spine3
        (0.02, -0.06, 0.13), (-0.02, -0.06, 0.13), (0, 0.21, -0.04),  # feet, neck
        (0.08, 0.12, -0.03), (-0.08, 0.12, -0.03), (0, 0.08, 0.04),  # collars, head
        (0.10, 0.03, -0.01), (-0.10, 0.03, -0.01),  # shoulders
        (0.26, 0, -0.02), (-0.26, 0, -0.02), (0.25, 0, 0.01), (-0.25, 0, 0.01),  # elbows, wrists
    ),
    directions=_axes("0 x -x y -y -y y -y -y y z z y x -x z -y -y -y -y -y -y"),
    pairs=((1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21)),
    feet=(7, 10, 8, 11),
    across=(2, 1, 17, 16),
)  # fmt: skip

# Joints 5 to 7 and 11 to 15 are the right side, as the published code has it where it finds the facing. The directions
# that it counts rotations from have them on the left; they stay so, because the published features do.
KIT = Skeleton(
    name="KIT",
    joints=(
        "root", "pelvis", "thorax", "neck", "head", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
        "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "right_midfoot", "right_foot", "left_hip",
        "left_knee", "left_ankle", "left_midfoot", "left_foot",
    ),
    chains=((0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10)),
    offsets=_rest(
        (0, 0, 0), (0, 0.06, -0.01), (0, 0.20, -0.02), (0, 0.26, 0), (0, 0.10, 0.03),  # root to head
        (-0.18, -0.03, 0), (-0.27, 0, -0.02), (-0.25, 0, 0.01), (0.18, -0.03, 0), (0.27, 0, -0.02), (0.25, 0, 0.01),
        (-0.09, -0.07, 0), (0, -0.40, 0), (0, -0.40, -0.03), (-0.02, -0.06, 0.10), (0, -0.01, 0.07),  # right leg
        (0.09, -0.07, 0), (0, -0.40, 0), (0, -0.40, -0.03), (0.02, -0.06, 0.10), (0, -0.01, 0.07),  # left leg
    ),
    directions=_axes("0 y y y y x -y -y -x -y -y x -y -y z z -x -y -y z z"),
    pairs=((8, 5), (9, 6), (10, 7), (16, 11), (17, 12), (18, 13), (19, 14), (20, 15)),
    feet=(19, 20, 14, 15),
    across=(11, 16, 5, 8),
)  # fmt: skip
