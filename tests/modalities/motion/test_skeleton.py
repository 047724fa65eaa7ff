"""Skeletons are trees of a person's proportions, the same in a mirror; rotations and positions say the same pose."""

import pytest
import roma
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.kinematics import forward, inverse, shortest_turn, to_matrix, to_quaternion
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton, skeleton_of, skeleton_of_features
from tests.modalities.motion.gait import walk

both = pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)


def random_rotations(*shape: int) -> Tensor:
    quaternions = torch.randn(*shape, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(quaternions, dim=-1)


def rest(skeleton: Skeleton) -> Tensor:
    still = torch.tensor([1.0, 0, 0, 0]).expand(len(skeleton), 4)
    return skeleton.forward(torch.zeros(3), still)


@both
def test_every_field_speaks_of_the_same_tree(skeleton: Skeleton) -> None:
    count = len(skeleton)
    assert len(set(skeleton.joints)) == count
    assert skeleton.offsets.shape == skeleton.directions.shape == (count, 3)
    assert skeleton.parents[0] == -1 and all(
        0 <= parent < joint for joint, parent in enumerate(skeleton.parents) if joint
    )
    assert sorted(joint for chain in skeleton.chains for joint in chain[1:]) == list(range(1, count))
    for left, right in skeleton.pairs:
        assert skeleton.joints[left].replace("left_", "right_") == skeleton.joints[right]
    assert [skeleton.joints[joint].split("_")[0] for joint in skeleton.feet] == ["left", "left", "right", "right"]
    names = ["right_hip", "left_hip", "right_shoulder", "left_shoulder"]
    assert [skeleton.joints[joint] for joint in skeleton.across] == names
    assert skeleton_of(count) is skeleton and skeleton_of_features(12 * count - 1) is skeleton


@both
def test_the_rest_pose_is_an_adult_and_symmetric(skeleton: Skeleton) -> None:
    pose = rest(skeleton)
    height = pose[:, 1].max() - pose[:, 1].min() + 0.17  # to the crown
    assert 1.6 < height < 1.8
    assert (skeleton.mirrored(pose) - pose).abs().max() < 1e-6
    left_foot, right_foot = pose[skeleton.feet[1]], pose[skeleton.feet[3]]
    assert left_foot[0] > 0 > right_foot[0] and left_foot[2] > 0.05  # left is +x, forward +z


def test_a_mirror_changes_left_and_right_and_nothing_else() -> None:
    x = walk(turn=0.7)
    mirrored = HUMANML3D.mirrored(x)
    assert HUMANML3D.mirrored(mirrored).equal(x)
    assert mirrored[:, 1].equal(x[:, 2] * torch.tensor([-1, 1, 1]))
    assert HUMANML3D.mirrored(x[None]).equal(mirrored[None])


def test_turning_a_joint_moves_what_hangs_on_it() -> None:
    turns = torch.tensor([1.0, 0, 0, 0]).repeat(2, 22, 1)
    elbow = HUMANML3D.joints.index("left_elbow")
    turns[1, elbow] = torch.tensor([0.5**0.5, 0, 0, 0.5**0.5])  # a quarter turn about z: +x goes up
    low, high = HUMANML3D.forward(torch.zeros(2, 3), turns)
    wrist = HUMANML3D.joints.index("left_wrist")
    assert (high - low).abs().amax(-1).nonzero().flatten().tolist() == [wrist]
    assert torch.allclose(high[wrist] - high[elbow], torch.tensor([0, 0.25, 0.01]), atol=1e-6)


@both
def test_any_rotations_keep_the_bones_and_come_back_as_positions(skeleton: Skeleton) -> None:
    root = torch.randn(5, 3, dtype=torch.float64)
    x = skeleton.forward(root, random_rotations(5, len(skeleton)))
    assert torch.allclose(x[:, 0], root)
    bones = (x[:, 1:] - x[:, list(skeleton.parents[1:])]).norm(dim=-1)
    assert torch.allclose(bones, skeleton.offsets[1:].double().norm(dim=-1).expand(5, -1), atol=1e-6)
    offsets, rotations = inverse(skeleton.parents, skeleton.offsets, x)
    assert (forward(skeleton.parents, offsets, root, rotations) - x).abs().max() < 1e-6
    assert torch.allclose(offsets, skeleton.offsets.double(), atol=1e-6)


def test_where_bones_stretch_the_pose_stays_near() -> None:
    x = walk()
    noisy = x + 0.02 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    offsets, rotations = inverse(HUMANML3D.parents, HUMANML3D.offsets, noisy)
    back = forward(HUMANML3D.parents, offsets, noisy[:, 0], rotations)
    assert (back - noisy).norm(dim=-1).mean() < 0.03  # less than the noise itself, 0.032


def test_shortest_turn_leads_there_by_the_smallest_angle() -> None:
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 100, 3, dtype=torch.float64, generator=generator)
    turns = shortest_turn(u, v)
    assert torch.allclose(
        (turns @ u[..., None])[..., 0] / u.norm(dim=-1, keepdim=True), v / v.norm(dim=-1, keepdim=True)
    )
    between = torch.nn.functional.cosine_similarity(u, v).acos()
    assert torch.allclose(roma.rotmat_to_rotvec(turns).norm(dim=-1), between)


def test_shortest_turn_has_an_answer_where_the_question_has_many() -> None:
    up = torch.tensor([0, 1.0, 0], dtype=torch.float64)
    back = shortest_turn(up, -up)
    assert torch.allclose(back @ up, -up) and torch.allclose(
        torch.linalg.det(back), torch.ones((), dtype=torch.float64)
    )
    assert torch.allclose(shortest_turn(up, up), torch.eye(3, dtype=torch.float64))
    assert torch.allclose(shortest_turn(up, 0 * up), torch.eye(3, dtype=torch.float64))


def test_quaternions_begin_with_their_real_part() -> None:
    quaternions = random_rotations(20)
    quaternions = quaternions * quaternions[:, :1].sign()
    assert torch.allclose(to_quaternion(to_matrix(quaternions)), quaternions)
    assert torch.allclose(to_matrix(torch.tensor([1.0, 0, 0, 0])), torch.eye(3))


def test_wrong_counts_are_named() -> None:
    with pytest.raises(UserError, match=r"no skeleton has 24 joints: motions have 22 \(HumanML3D\) or 21 \(KIT\)"):
        skeleton_of(24)
    with pytest.raises(UserError, match="no skeleton has 64 numbers a frame"):
        skeleton_of_features(64)
    x = walk(frames=6)
    x[3, 4, 1] = float("nan")
    with pytest.raises(UserError, match=r"not numbers \(first in frame 3, left_knee\)"):
        HUMANML3D.check(x)
    with pytest.raises(UserError, match=r"this one is \(0, 22, 3\)"):
        HUMANML3D.check(torch.zeros(0, 22, 3))
