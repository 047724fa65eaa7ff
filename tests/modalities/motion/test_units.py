"""The unit of motions, and which way is up: what a person's legs and rest say is done, and told in a line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.bvh import bvh_text
from mmgen.modalities.motion.features import feature_slices, joints_to_features
from mmgen.modalities.motion.files import read_motion, write_npy
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT
from mmgen.modalities.motion.sources.humanml3d import HumanML3D
from mmgen.modalities.motion.units import LENGTHS, features_in_metres, joints_in_metres, stand_up
from tests.modalities.motion.gait import walk


def read(path: Path) -> tuple[Tensor, list[str]]:
    lines: list[str] = []
    return read_motion(path, report=lines.append), lines


def in_unit(features: Tensor, factor: float) -> Tensor:
    features = features.clone()
    for name in LENGTHS:
        features[:, feature_slices(features.shape[1])[name]] *= factor
    return features


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize(("unit", "factor"), [("centimetres", 100), ("millimetres", 1000), ("inches", 1 / 0.0254)])
def test_arrays_in_other_units_come_to_metres(unit: str, factor: float, skeleton, tmp_path: Path) -> None:
    x = walk(skeleton, 30, turn=0.3).float()
    np.save(tmp_path / "joints.npy", (factor * x).numpy())
    np.save(tmp_path / "features.npy", in_unit(joints_to_features(x), factor).numpy())
    np.save(tmp_path / "metres.npy", joints_to_features(x).numpy())
    joints, lines = read(tmp_path / "joints.npy")
    torch.testing.assert_close(joints, x, atol=1e-4, rtol=0)
    assert len(lines) == 1 and unit in lines[0] and "joints.npy" in lines[0]
    features, lines = read(tmp_path / "features.npy")
    torch.testing.assert_close(features, read_motion(tmp_path / "metres.npy"), atol=1e-4, rtol=0)
    assert len(lines) == 1 and unit in lines[0]


def test_what_is_in_metres_stays_as_it_is_without_a_word(tmp_path: Path) -> None:
    for size in (0.3, 1.0, 2.0):  # a child and a giant too
        write_npy(size * walk(frames=10), tmp_path / "a.npy")
        joints, lines = read(tmp_path / "a.npy")
        assert joints.equal((size * walk(frames=10)).float())
        assert not lines


def test_legs_of_no_person_are_told(tmp_path: Path) -> None:
    write_npy(5 * walk(frames=10), tmp_path / "a.npy")
    joints, lines = read(tmp_path / "a.npy")
    assert joints.equal((5 * walk(frames=10)).float())
    assert len(lines) == 1 and "no person's" in lines[0]
    stretching = torch.linspace(60, 120, 10)[:, None, None] * walk(frames=10).float()
    assert joints_in_metres(stretching, HUMANML3D)[0].equal(stretching)
    features = joints_to_features(walk(frames=10))
    normalised = (features - features.mean(0)) / features.std(0).clamp(min=0.01)
    assert "is it normalised" in (features_in_metres(normalised)[1] or "")


def test_a_folder_in_millimetres_is_read_in_metres_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = HumanML3D.make_fake(tmp_path / "folder")
    whole = HumanML3D(**options | {"cache": str(tmp_path / "one")})
    expected, mean = whole.samples("train").take(torch.arange(4))["x"], whole.statistics()[0]
    assert not [line for line in caplog.messages if "not in metres" in line]
    for file in sorted((tmp_path / "folder" / "new_joint_vecs").iterdir()):
        np.save(file, in_unit(torch.from_numpy(np.load(file)), 1000).numpy())
    source = HumanML3D(**options | {"cache": str(tmp_path / "two")})
    torch.testing.assert_close(source.samples("train").take(torch.arange(4))["x"], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(source.statistics()[0], mean, atol=1e-5, rtol=1e-5)
    lines = [line for line in caplog.messages if "not in metres" in line]
    assert len(lines) == 1
    assert "20 motion(s)" in lines[0] and "millimetres" in lines[0] and "000000.npy" in lines[0]


TURNS = {  # a person along +y to one along this axis
    "x": torch.tensor([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "-x": torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "-y": torch.tensor([[1, 0, 0], [0, -1, 0], [0, 0, -1]]),
    "z": torch.tensor([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "-z": torch.tensor([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


@pytest.mark.parametrize("up", TURNS)
def test_a_person_who_stands_along_another_axis_is_stood_up(up: str) -> None:
    x, turn = walk(frames=20, turn=0.3), TURNS[up].double()
    assert turn.det() == 1
    rest = HUMANML3D.forward(torch.zeros(3), torch.tensor([1.0, 0, 0, 0]).expand(22, 4)).double()
    back, remark = stand_up(x @ turn.T, rest @ turn.T)
    torch.testing.assert_close(back, x)
    assert remark is not None and f"along {up} at rest" in remark


def test_one_whose_root_turns_it_upright_or_who_lies_down_stays() -> None:
    x, turn = walk(frames=20), TURNS["z"].double()
    rest = HUMANML3D.forward(torch.zeros(3), torch.tensor([1.0, 0, 0, 0]).expand(22, 4)).double()
    for joints, at_rest in ((x, rest @ turn.T), (x @ turn.T, rest), (x, rest), (x @ turn.T, 0 * rest)):
        assert stand_up(joints, at_rest) == (joints, None)


def turned(text: str, turn: Tensor) -> str:
    """A BVH file of a body that is never turned, with all offsets and places turned."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        words = line.split()
        if words[:1] == ["OFFSET"]:
            lines[number] = " ".join(
                ["OFFSET", *map(str, (turn @ torch.tensor([float(w) for w in words[1:]])).tolist())]
            )
        elif len(words) > 50:
            place = (turn @ torch.tensor([float(word) for word in words[:3]])).tolist()
            lines[number] = " ".join([*map(str, place), *words[3:]])
    return "\n".join(lines)


def test_bvh_of_programs_with_z_up_gives_the_same_joints(tmp_path: Path) -> None:
    glide = torch.arange(30)[:, None, None] * torch.tensor([0.02, 0.001, 0.05])
    identity = torch.tensor([1.0, 0, 0, 0]).expand(30, 22, 4)
    x = HUMANML3D.forward(torch.tensor([0.0, 0.9, 0]).expand(30, 3), identity) + glide
    text = bvh_text(x, 20)
    (tmp_path / "y.bvh").write_text(text)
    (tmp_path / "z.bvh").write_text(turned(text, TURNS["z"].float()))
    (expected, quiet), (joints, lines) = read(tmp_path / "y.bvh"), read(tmp_path / "z.bvh")
    torch.testing.assert_close(joints, expected, atol=1e-5, rtol=0)
    assert not quiet
    assert len(lines) == 1 and "stands along z" in lines[0]


def test_wrong_numbers_of_frames_are_told(tmp_path: Path) -> None:
    text = bvh_text(walk(frames=10), 20)
    (tmp_path / "a.bvh").write_text(text.replace("Frames: 10", "Frames: 7"))
    joints, lines = read(tmp_path / "a.bvh")
    assert len(joints) == 10
    assert len(lines) == 1 and "says that it has 7 frames, and has 10" in lines[0]


def test_a_frame_that_lasts_long_does_not_fill_the_memory(tmp_path: Path) -> None:
    text = bvh_text(walk(frames=200), 20)
    (tmp_path / "a.bvh").write_text(text.replace("Frame Time: 0.05", "Frame Time: 99.5"))
    with pytest.raises(UserError, match="lasts 19,900 s, more than 262,144 frames"):
        read_motion(tmp_path / "a.bvh")
