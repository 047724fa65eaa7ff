"""Distances of motions: none between the same, known ones between others."""

import pytest
import torch

from mmgen.modalities.motion.distance import pose_errors
from mmgen.modalities.motion.skeleton import HUMANML3D
from tests.modalities.motion.gait import walk


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
