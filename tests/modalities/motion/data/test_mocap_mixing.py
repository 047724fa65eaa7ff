"""People of several clips: what comes from where, that nothing held out is shown, and that samples stay theirs."""

import pytest
import torch

from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.humanoid3d import Stretch, read_clip
from mmgen.modalities.motion.sources.mocap import PARTS, Mocap, mixed
from tests.modalities.motion.data.test_mocap import moving, write

NAMES = list(HUMANML3D.joints)
STILL = torch.zeros(len(HUMANML3D), 3)
LEFT_ARM = [NAMES.index(name) for name in ("left_elbow", "left_wrist")]


@pytest.fixture
def people(tmp_path) -> tuple[Stretch, Stretch]:
    first, second = (read_clip(write(tmp_path, f"a_{seed}", moving(61, seed=seed))).split(0.25)[0] for seed in (0, 1))
    return first, second


def test_a_person_of_one_clip_is_that_clip(people) -> None:
    """Poses between two frames are found by turning, not by straight lines, which differ by less than 2 mm."""
    own, _ = people
    times = torch.linspace(0, 1, 21, dtype=torch.float64)
    joints = mixed(own, times, [None] * PARTS, STILL)
    assert (joints - own.at(times)).norm(dim=-1).max() < 2e-3


def test_an_arm_of_another_moves_nothing_else(people) -> None:
    own, other = people
    times = torch.linspace(0, 1, 21, dtype=torch.float64)
    alone = mixed(own, times, [None] * PARTS, STILL)
    joints = mixed(own, times, [None, (other, times), None, None, None], STILL)
    moved = (joints - alone).norm(dim=-1).amax(0)
    assert moved[LEFT_ARM].min() > 0.05
    rest = [joint for joint in range(len(NAMES)) if joint not in LEFT_ARM and not NAMES[joint].startswith("left_")]
    assert moved[rest].max() == 0


def test_bones_keep_their_lengths_when_joints_are_turned(people) -> None:
    own, other = people
    times = torch.linspace(0, 1, 21, dtype=torch.float64)
    turns = torch.randn(len(NAMES), 3, generator=torch.Generator().manual_seed(0))
    joints = mixed(own, times, [(other, times)] * PARTS, turns)

    def lengths(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([(x[:, j] - x[:, p]).norm(dim=-1) for j, p in enumerate(HUMANML3D.parents) if p >= 0])

    torch.testing.assert_close(lengths(joints), lengths(own.at(times)), atol=2e-3, rtol=0)
    assert (joints - own.at(times)).norm(dim=-1).max() > 0.05


def test_mixing_changes_training_samples_alone(tmp_path) -> None:
    for seed in range(3):
        write(tmp_path, f"clip{seed}", moving(91, seed=seed))
    index = torch.arange(12)
    plain, half, whole = (Mocap(16, 20.0, mixed=share, folder=tmp_path) for share in (0.0, 0.5, 1.0))
    x, y, z = (source.samples("train").augmented(index, index * 0, 3)["x"] for source in (plain, half, whole))
    same = (x == y).all(-1).all(-1)
    assert 0 < same.sum() < len(index)  # a share of them, and those that are not mixed are as they would have been
    assert not (x == z).all(-1).all(-1).any()
    assert torch.equal(y, half.samples("train").augmented(index, index * 0, 3)["x"])
    alone = half.samples("train").augmented(index[5:6], index[5:6] * 0, 3)["x"]
    assert torch.equal(y[5:6], alone)
    held_out = torch.arange(len(plain.samples("val")))
    assert torch.equal(plain.samples("val").take(held_out)["x"], whole.samples("val").take(held_out)["x"])


def test_nothing_held_out_is_shown(tmp_path) -> None:
    """What comes after the border may be anything: mixed samples stay as they are, bit for bit."""
    samples = []
    for change in (0.0, 1.0):
        folder = tmp_path / str(change)
        for seed in range(2):
            rows = moving(81, seed=seed)
            rows[62:, 5:] += change  # held out is a quarter of 80 / 30 s, from frame 60 on
            write(folder, f"clip{seed}", rows)
        source = Mocap(16, 20.0, mixed=1.0, folder=folder)
        samples.append(source.samples("train").augmented(torch.arange(16), torch.zeros(16, dtype=torch.long), 0)["x"])
    assert torch.equal(*samples)
