"""Motions and files: arrays, features and BVH of several programs give the same joints; bad files are named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.bvh import bvh_text
from mmgen.modalities.motion.features import canonical, joints_to_features
from mmgen.modalities.motion.files import find_joints, read_motion, resample_motion, write_bvh, write_npy
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT
from tests.modalities.motion.gait import walk

SIDES = ("left", "Left"), ("right", "Right")
MIXAMO = {"pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head"}
CMU = MIXAMO | {"spine1": "LowerBack", "spine2": "Spine", "spine3": "Spine1"}
for ours, theirs in SIDES:
    for part, name in (
        ("hip", "UpLeg"), ("knee", "Leg"), ("ankle", "Foot"), ("foot", "ToeBase"), ("collar", "Shoulder"),
        ("shoulder", "Arm"), ("elbow", "ForeArm"), ("wrist", "Hand"),
    ):  # fmt: skip
        MIXAMO[f"{ours}_{part}"] = CMU[f"{ours}_{part}"] = theirs + name


def renamed(x: Tensor, names: dict[str, str], prefix: str = "", scale: float = 0.01, fps: float = 20.0) -> str:
    """The text of a BVH file as another program would write it."""
    words = bvh_text(x, fps, scale).split(" ")
    lines = " ".join(words).split("\n")
    for number, line in enumerate(lines):
        head, _, joint = line.rpartition(" ")
        if joint in HUMANML3D.joints:
            lines[number] = f"{head} {prefix}{names.get(joint, joint)}"
    return "\n".join(lines)


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)
def test_arrays_come_back_as_joints_and_as_features(tmp_path: Path, skeleton) -> None:
    x = walk(skeleton, 40, turn=0.5)
    write_npy(x, tmp_path / "joints.npy")
    assert read_motion(tmp_path / "joints.npy").equal(x.float())
    np.save(tmp_path / "features.npy", joints_to_features(x).numpy())
    assert (read_motion(tmp_path / "features.npy") - canonical(x)[:-1]).abs().max() < 1e-4


@pytest.mark.parametrize("scale", [1.0, 0.01, 0.001, 0.0254])
@pytest.mark.parametrize(
    ("names", "prefix"), [({}, ""), (MIXAMO, ""), (MIXAMO, "mixamorig:"), (CMU, ""), ({}, "m_avg_")],
    ids=["own", "mixamo", "prefixed", "cmu", "smpl"],
)  # fmt: skip
def test_bvh_of_many_programs_and_units_gives_the_same_joints(
    tmp_path: Path, names: dict[str, str], prefix: str, scale: float
) -> None:
    x = walk(frames=20, turn=0.5)
    (tmp_path / "a.bvh").write_text(renamed(x, names, prefix, scale))
    assert (read_motion(tmp_path / "a.bvh") - x).abs().max() < 1e-4


def test_an_unknown_unit_is_found_by_the_legs(tmp_path: Path) -> None:
    x = walk(frames=10)
    (tmp_path / "a.bvh").write_text(renamed(x, {}, scale=0.056))  # what CMU's files have
    assert (read_motion(tmp_path / "a.bvh") - x).abs().max() < 1e-4


def test_names_of_other_programs_are_found() -> None:
    unreal = """Pelvis thigh_l thigh_r spine_01 calf_l calf_r spine_02 foot_l foot_r spine_03 ball_l ball_r neck_01
        clavicle_l clavicle_r head upperarm_l upperarm_r lowerarm_l lowerarm_r hand_l hand_r"""
    assert find_joints(unreal.split()) == list(range(22))
    smpl = """World Pelvis L_Hip R_Hip Spine1 L_Knee R_Knee Spine2 L_Ankle R_Ankle Spine3 L_Foot R_Foot Neck L_Collar
        R_Collar Head L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist"""
    assert find_joints(smpl.split()) == list(range(1, 23))


def test_joints_that_are_missing_are_named(tmp_path: Path) -> None:
    text = renamed(walk(frames=3), MIXAMO | {"left_wrist": "LeftPaw", "spine3": "Chest"})
    (tmp_path / "a.bvh").write_text(text)
    with pytest.raises(
        UserError, match=r"no joint that is spine3 \(spine2\), left_wrist \(lhand\) among Hips, "
    ) as error:
        read_motion(tmp_path / "a.bvh")
    assert "\n" not in str(error.value)


def test_a_file_is_brought_to_the_wanted_rate(tmp_path: Path) -> None:
    write_bvh(walk(frames=121, fps=120), tmp_path / "a.bvh", fps=120)
    x = read_motion(tmp_path / "a.bvh", fps=20)
    assert x.shape == (21, 22, 3)
    assert (x - walk(frames=21)).abs().max() < 1e-4
    assert read_motion(tmp_path / "a.bvh", fps=120).shape == (121, 22, 3)


@pytest.mark.parametrize(
    ("before", "after", "frames"), [(20, 20, 10), (60, 20, 4), (25, 20, 8), (20, 50, 23), (30, 12.5, 4)]
)
def test_resampling_is_exact_on_lines(before: float, after: float, frames: int) -> None:
    start, step = torch.randn(2, 22, 3, dtype=torch.float64)
    x = start + step * torch.arange(10)[:, None, None] / before
    y = resample_motion(x, before, after)
    assert len(y) == frames
    assert torch.allclose(y, start + step * torch.arange(frames)[:, None, None] / after)
    assert resample_motion(x[:1], before, after).equal(x[:1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 24, 3), np.float32), r"\(5, 24, 3\), but a motion is one of \(frames, 22, 3\), "),
        (np.zeros((0, 22, 3), np.float32), "shape"),
        (np.zeros((0, 263), np.float32), "shape"),
        (np.zeros(22, np.float32), "shape"),
        (np.float32(1), "shape"),
        (np.full((5, 22, 3), np.nan, np.float32), "not numbers .first in frame 0, pelvis"),
        (np.full((5, 263), np.inf, np.float32), "not numbers"),
        (np.full((5, 22, 3), "a"), "holds no array of numbers"),
        (np.full((5, 22, 3), 1j), "holds no array of numbers"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_motion_are_named(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=message) as error:
        read_motion(tmp_path / "a.npy")
    assert str(tmp_path / "a.npy") in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "many.npz", walk(frames=2).numpy())
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    (tmp_path / "text.npy").write_text("not an array")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "folder.npy").mkdir()
    write_npy(walk(frames=9), tmp_path / "cut.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-100])
    for name in ("pickled.npy", "many.npy", "text.npy", "empty.npy", "folder.npy", "cut.npy", "none.npy", "a.txt"):
        with pytest.raises(UserError) as error:
            read_motion(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)
    write_npy(walk(frames=9), tmp_path / "good.npy")
    with pytest.raises(UserError, match="frames a second"):
        read_motion(tmp_path / "good.npy", fps=0)
    for write in (write_npy, write_bvh):
        with pytest.raises(UserError, match="cannot be written"):
            write(walk(frames=2), tmp_path / "no" / "where.npy")
        with pytest.raises(UserError, match="no skeleton has 7 joints"):
            write(torch.zeros(4, 7, 3), tmp_path / "x")
