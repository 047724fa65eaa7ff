"""The features hold what the walk does, in the published numbers, and the joints come back from them."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.features import (
    canonical,
    feature_slices,
    features_to_joints,
    joints_to_features,
    pose_errors,
)
from mmgen.modalities.motion.kinematics import smoothed
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton
from tests.modalities.motion.gait import CYCLE, toes_stand, walk

both = pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)


def moved(x: Tensor, yaw: float, shift: tuple[float, float, float]) -> Tensor:
    sin, cos = math.sin(yaw), math.cos(yaw)
    return x @ x.new_tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T + x.new_tensor(shift)


def group(features: Tensor, name: str) -> Tensor:
    return features[..., feature_slices(features.shape[-1])[name]]


def wild(skeleton: Skeleton, frames: int) -> Tensor:
    """Somebody who spins and tumbles: facings pass through every angle and bones stretch."""
    noise = torch.randn(frames, len(skeleton), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return walk(skeleton, frames, speed=0.1, turn=4.0) + 0.1 * noise


@both
def test_slices_tile_the_features_as_published(skeleton: Skeleton) -> None:
    slices = list(feature_slices(skeleton.features).values())
    assert slices[0].start == 0 and slices[-1].stop == skeleton.features
    assert all(before.stop == after.start for before, after in zip(slices, slices[1:]))
    if skeleton is HUMANML3D:
        assert [s.start for s in slices] == [0, 1, 3, 4, 67, 193, 259]


@both
@pytest.mark.parametrize("frames", [2, 3, 60, 196])
def test_joints_come_back(skeleton: Skeleton, frames: int) -> None:
    for x in (walk(skeleton, frames, turn=0.8), wild(skeleton, frames)):
        x = moved(x, 2.5, (3.0, 0.4, -7.0))
        features = joints_to_features(x)
        assert features.dtype == torch.float32 and features.shape == (frames - 1, 12 * len(skeleton) - 1)
        back = features_to_joints(features)
        assert (back - canonical(x)[:-1]).abs().max() < 1e-4 / 10
        batch = features_to_joints(torch.stack([features, features.flip(0)]))
        assert torch.allclose(batch[0], back, atol=1e-6)


@both
def test_canonical_stands_on_the_floor_over_the_origin_and_faces_forward(skeleton: Skeleton) -> None:
    x = canonical(moved(walk(skeleton, turn=0.5), -2.0, (1.0, 2.0, 3.0)))
    assert abs(x[..., 1].min()) < 1e-12
    assert x[0, 0, [0, 2]].abs().max() < 1e-12
    right_hip, left_hip, right_shoulder, left_shoulder = x[0, list(skeleton.across)]
    across = right_hip - left_hip + right_shoulder - left_shoulder
    assert across[0] < 0 and abs(across[2]) < 1e-9  # the right is at -x, so that the front is at +z
    assert torch.allclose(canonical(x), x)


def test_where_and_how_the_walk_was_recorded_does_not_matter() -> None:
    x = walk(turn=0.5)
    there = moved(x, 1.2, (5.0, -1.0, 2.0))
    assert torch.allclose(joints_to_features(there), joints_to_features(x), atol=1e-5)


def test_a_straight_walk_goes_forward_at_its_speed() -> None:
    features = joints_to_features(walk(frames=196, speed=1.0))[40:-40]  # where the smoothing meets no end
    step = group(features, "root_velocity")
    assert (step - torch.tensor([0, 1.0 / 20])).abs().max() < 3e-3
    assert group(features, "root_yaw").abs().max() < 2e-3


def test_yaw_is_half_the_turn_to_the_next_frame() -> None:
    features = joints_to_features(walk(frames=196, turn=0.6))[60:-60]
    assert (group(features, "root_yaw") + 0.6 / 20 / 2).abs().max() < 2e-3


def test_turns_past_the_half_circle_do_not_jump() -> None:
    features = joints_to_features(walk(frames=196, turn=1.5))[:-60]  # more than a whole turn
    assert (group(features, "root_yaw")[1:] + 1.5 / 20 / 2).abs().max() < 0.04
    x = canonical(walk(frames=196, turn=1.5))
    assert torch.allclose(features_to_joints(joints_to_features(x))[-1, 0], x[-2, 0].float(), atol=1e-5)


def test_contacts_follow_the_plan_of_the_feet() -> None:
    contacts = group(joints_to_features(walk(frames=81)), "contacts").bool()
    for column, start in ((1, 0.0), (3, 0.5)):  # the toes
        stand = toes_stand(start, 81)
        assert contacts[:, column][stand[:-1] & stand[1:]].all()
        middle = (torch.arange(81) / 20 / CYCLE + start) % 1 > 0.75
        assert not contacts[:, column][(middle & ((torch.arange(81) / 20 / CYCLE + start) % 1 < 0.9))[:-1]].any()
    assert group(joints_to_features(walk(frames=20), contact=1e9), "contacts").all()


def test_velocities_are_ways_as_seen_from_the_body() -> None:
    x = canonical(walk(frames=50, turn=0.4))
    features = joints_to_features(x)
    ways = group(features, "velocities").unflatten(1, (22, 3))
    assert torch.allclose(ways.norm(dim=-1), x.diff(dim=0).norm(dim=-1).float(), atol=1e-6)
    assert torch.allclose(ways[0], x.diff(dim=0)[0].float(), atol=1e-6)  # the first frame faces +z
    assert torch.allclose(group(features, "root_velocity").norm(dim=-1), ways[:, 0, [0, 2]].norm(dim=-1), atol=1e-6)


@both
def test_rotations_are_those_of_the_chains(skeleton: Skeleton) -> None:
    """Along a chain, turns of the published directions give the bones' directions, as in published decoders."""
    x = canonical(walk(skeleton, 40, turn=0.5))
    features = joints_to_features(x)
    columns = group(features, "rotations").double().unflatten(1, (len(skeleton) - 1, 2, 3))
    local = torch.stack(
        [columns[:, :, 0], columns[:, :, 1], torch.linalg.cross(columns[:, :, 0], columns[:, :, 1])], -1
    )
    angle = torch.nn.functional.pad(group(features, "root_yaw")[:-1, 0].double().cumsum(0), (1, 0))
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    sin, cos = (2 * angle).sin(), (2 * angle).cos()
    facing = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).unflatten(1, (3, 3))
    for chain in skeleton.chains:
        turned = facing
        for parent, joint in zip(chain, chain[1:]):
            turned = turned @ local[:, joint - 1]
            bone = torch.nn.functional.normalize(x[:-1, joint] - x[:-1, parent], dim=-1)
            assert torch.allclose(turned @ skeleton.directions[joint].double(), bone, atol=1e-5)


def test_smoothing_is_the_gaussian_of_scipy() -> None:
    x = torch.randn(50, 3, dtype=torch.float64)
    expected = gaussian_filter1d(x.numpy(), 20, axis=0, mode="nearest")
    np.testing.assert_allclose(smoothed(x, 20).numpy(), expected, atol=1e-12)


def test_gradients_reach_what_the_joints_are_made_of() -> None:
    features = joints_to_features(walk(frames=20)).requires_grad_()
    features_to_joints(features).square().sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()
    assert group(features.grad, "positions").abs().min(dim=0).values.max() > 0
    assert group(features.grad, "rotations").eq(0).all()


def test_a_still_person_has_features_too() -> None:
    x = walk(frames=1).expand(5, -1, -1)
    features = joints_to_features(x)
    assert features.isfinite().all() and group(features, "contacts").all()
    assert group(features, "velocities").eq(0).all()
    nothing = joints_to_features(torch.zeros(5, 22, 3))  # no body at all
    assert nothing.isfinite().all()


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="one frame has no features"):
        joints_to_features(walk(frames=1))
    with pytest.raises(UserError, match="not numbers"):
        joints_to_features(torch.full((5, 22, 3), float("inf")))
    with pytest.raises(UserError, match="no skeleton has 262 numbers"):
        features_to_joints(torch.zeros(5, 262))


def test_poses_are_compared_where_they_are_not_places() -> None:
    joints = walk(HUMANML3D, 20)
    assert pose_errors(joints, joints).eq(0).all()
    away = joints + torch.linspace(0, 3, 20)[:, None, None]
    assert pose_errors(away, joints).max() == pytest.approx(0, abs=1e-3)
    bent = joints.clone()
    bent[:, 5, 1] += 0.022
    torch.testing.assert_close(pose_errors(bent, joints), torch.ones(20).double(), atol=1e-3, rtol=0)
    noise = torch.randn(20, 22, 3, generator=torch.Generator().manual_seed(0))
    assert (pose_errors(joints + 0.02 * noise, joints) > pose_errors(joints + 0.01 * noise, joints)).all()
