"""Recorded motions: joints against known answers, what is held out, how samples are drawn, clips that are no use."""

import json
import math
import sys

import numpy as np
import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.sources import CachedTokens
from mmgen.modalities.motion.features import feature_slices, features_to_joints, joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.humanoid3d import read_clip, slerp
from mmgen.modalities.motion.sources.mocap import Mocap
from mmgen.store.store import load_tokenizer
from tests.data.training import everything
from tests.data_modules import data_module
from tests.motion_runs import motion_tokenizer_run

SIZES = (4, 4, 4, 4, 1, 4, 4, 1, 4, 1, 4, 4, 1)  # root, chest, neck, then hip, knee, ankle, shoulder, elbow a side
SIDES = [f"{side}_{joint}" for side in ("right", "left") for joint in ("hip", "knee", "ankle", "shoulder", "elbow")]
KEYS = ("root", "chest", "neck", *SIDES)
START = dict(zip(KEYS, 4 + np.cumsum((0, *SIZES))))
SLICES = feature_slices(263)


def rest(frames, height=0.9, fps=30.0):
    """The rows of a person who stands still."""
    rows = np.zeros((frames, 44))
    rows[:, 0], rows[:, 2] = 1 / fps, height
    for key, size in zip(KEYS, SIZES):
        rows[:, START[key]] = 1 if size == 4 else 0
    return rows


def moving(frames, seed=0, fps=30.0):
    """A person whom smooth noise moves."""
    rows, random = rest(frames, fps=fps), np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / fps
    for column in range(1, 44):
        rows[:, column] += 0.3 * np.sin(2 * np.pi * (time * random.uniform(0.3, 1.5) + random.uniform()))[:, 0]
    rows[:, START["right_knee"]] = -abs(rows[:, START["right_knee"]])
    return rows


def write(folder, name, rows, **more):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"humanoid3d_{name}.txt"
    path.write_text(json.dumps({"Loop": "wrap", **more, "Frames": np.asarray(rows).tolist()}))
    return path


def joint(joints, name):
    return joints[..., HUMANML3D.joints.index(name), :]


def pose(tmp_path, rows):
    return read_clip(write(tmp_path, "pose", rows)).split(0.5)[0].joints[0].double()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four clips of three actions: 3 s, 2 s, 1 s and 0.8 s."""
    path = tmp_path_factory.mktemp("clips")
    for seed, (name, frames) in enumerate({"hop_a": 91, "hop_b": 61, "run": 25, "get_up": 31}.items()):
        write(path, name, moving(frames, seed))
    return path


@pytest.fixture(scope="module")
def source(folder):
    return Mocap(folder=folder, clips=240)


# Joints.


def oracle(row):
    """The joints of DeepMimic's body in its own axes, one after the other, with matrices of numpy."""

    def turn(key):
        at = row[START[key] :]
        if SIZES[KEYS.index(key)] == 1:
            c, s = math.cos(at[0]), math.sin(at[0])
            return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        w, x, y, z = at[:4] / np.linalg.norm(at[:4])
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    root = turn("root")
    found = {"pelvis": row[1:4]}
    chest = root @ turn("chest")
    found["spine2"] = found["pelvis"] + root @ [0, 0.236151, 0]
    found["neck"] = found["spine2"] + chest @ [0, 0.223894, 0]
    for side, z in (("right", 1), ("left", -1)):
        found[f"{side}_hip"] = found["pelvis"] + root @ [0, 0, z * 0.084887]
        thigh = root @ turn(f"{side}_hip")
        found[f"{side}_knee"] = found[f"{side}_hip"] + thigh @ [0, -0.421546, 0]
        shin = thigh @ turn(f"{side}_knee")
        found[f"{side}_ankle"] = found[f"{side}_knee"] + shin @ [0, -0.40987, 0]
        found[f"{side}_shoulder"] = found["spine2"] + chest @ [-0.02405, 0.2435, z * 0.18311]
        arm = chest @ turn(f"{side}_shoulder")
        found[f"{side}_elbow"] = found[f"{side}_shoulder"] + arm @ [0, -0.274788, 0]
        forearm = arm @ turn(f"{side}_elbow")
        found[f"{side}_wrist"] = found[f"{side}_elbow"] + forearm @ [0, -0.258947, 0]
    return found


def test_joints_are_where_the_published_body_has_them(tmp_path):
    rows = np.random.default_rng(0).normal(size=(5, 44))
    rows[:, 0] = 0.1
    clip = read_clip(write(tmp_path, "noise", rows))
    joints = clip.split(0.25)[0].joints  # 0.3 s, so that the frames are among the poses
    poses = joints[torch.linspace(0, len(joints) - 1, 4).round().long()]
    for row, moment in zip(rows, poses):
        for name, place in oracle(row).items():
            x, y, z = place
            assert np.allclose(joint(moment, name).numpy(), [-z, y, x], atol=1e-5), name


def test_turns_by_hand(tmp_path):
    standing = pose(tmp_path, rest(3))
    assert joint(standing, "left_hip")[0] > 0 > joint(standing, "right_hip")[0]  # x is to the left
    assert joint(standing, "left_foot")[2] > joint(standing, "left_ankle")[2] + 0.1  # z is forward
    assert joint(standing, "head")[1] > joint(standing, "neck")[1] > joint(standing, "left_wrist")[1]
    rows = rest(3)
    rows[:, START["left_knee"]], rows[:, START["left_elbow"]] = -math.pi / 2, math.pi / 2
    bent = pose(tmp_path, rows) - standing
    assert torch.allclose(joint(bent, "left_ankle"), torch.tensor([0, 0.40987, -0.40987]).double(), atol=1e-6)
    assert torch.allclose(joint(bent, "left_wrist"), torch.tensor([0, 0.258947, 0.258947]).double(), atol=1e-6)
    assert joint(bent, "right_ankle").abs().max() < 1e-6
    rows = rest(3)
    rows[:, START["root"] : START["root"] + 4] = [math.cos(math.pi / 4), 0, math.sin(math.pi / 4), 0]
    turned = pose(tmp_path, rows)  # a quarter turn to the left
    way = joint(turned, "right_foot") - joint(turned, "right_ankle")
    assert torch.allclose(way, torch.tensor([0.13, -0.045, 0.01]).double(), atol=1e-6)


def test_between_frames_turns_go_the_short_way_and_evenly(tmp_path):
    def quaternion(degrees):
        half = math.radians(degrees) / 2
        return torch.tensor([math.cos(half), 0, 0, math.sin(half)], dtype=torch.float64)

    for part in (0.0, 0.25, 0.5, 1.0):
        for sign in (1, -1):
            made = slerp(quaternion(20), sign * quaternion(100), torch.tensor([part], dtype=torch.float64))
            assert torch.allclose(made, quaternion(20 + 80 * part), atol=1e-9)
    near = slerp(quaternion(20), quaternion(20 + 1e-7), torch.tensor([0.5], dtype=torch.float64))
    assert torch.allclose(near, quaternion(20), atol=1e-6)
    rows = rest(2, fps=2.0)
    rows[1, START["left_knee"]] = rows[1, START["right_knee"]] = -2.0
    stretch = read_clip(write(tmp_path, "knees", [*rows, rows[1]])).split(0.5)[0]
    assert stretch.seconds == 0.5
    moments = stretch.at(torch.tensor([-1, 0, 0.125, 0.25, 0.5, 9], dtype=torch.float64))
    shin = joint(moments, "left_ankle") - joint(moments, "left_knee")
    angle = torch.atan2(-shin[:, 2], -shin[:, 1])
    assert torch.allclose(angle, torch.tensor([0, 0, 0.5, 1, 2, 2.0]), atol=1e-3)


# The real clips.


@pytest.fixture(scope="module")
def real():
    pytest.importorskip("pybullet_data")
    return Mocap()


def test_the_clips_of_the_package(real, caplog):
    assert real.class_names == [
        "backflip", "cartwheel", "crawl", "dance", "getup_facedown", "getup_faceup", "jump", "kick", "punch", "roll",
        "run", "spin", "spinkick", "walk",
    ]  # fmt: skip
    assert (real.sample_shape, real.fps, real.more) == ((263, 48), 20.0, {"skeleton": "HumanML3D"})
    training, held_out = (sum(part.seconds for part in parts) for parts in zip(*real._stretches))
    assert (round(training, 1), round(held_out, 1)) == (25.1, 8.5)
    val = everything(real, "val")
    assert val["label"].unique().tolist() == list(range(14))
    assert len(val["label"]) == 30
    assert not caplog.messages
    train = real.samples("train").take(torch.arange(140))
    assert len(real.samples("train")) == 4000
    for batch in (train, val):
        assert batch["x"].isfinite().all()
        assert not (batch["length"] % 4).any()
        assert 4 <= batch["length"].min() <= batch["length"].max() <= 48
    assert train["length"].max() == 48
    assert real.samples("train").texts(torch.tensor([13, 0, 3])) == [
        "a person walks", "a person does a backflip", "a person dances",
    ]  # fmt: skip


# What is held out.


def test_each_split_is_of_its_own_time_alone(tmp_path):
    rows = moving(61)  # 2 s, of which 1.5 s are trained on
    places = {"both": rows, "later": rows.copy(), "earlier": rows.copy()}
    places["later"][46:, 1:] = moving(61, 9)[46:, 1:]
    places["earlier"][:45, 1:] = moving(61, 9)[:45, 1:]
    found = {}
    for name, changed in places.items():
        write(tmp_path / name, "hop", changed)
        made = Mocap(folder=tmp_path / name, clips=40)
        x = {split: everything(made, split)["x"] for split in ("train", "val")}
        found[name] = x | {"mean": made.statistics()[0]}
    assert found["later"]["train"].equal(found["both"]["train"])
    assert found["later"]["mean"].equal(found["both"]["mean"])
    assert not found["later"]["val"].equal(found["both"]["val"])
    assert found["earlier"]["val"].equal(found["both"]["val"])
    assert not found["earlier"]["train"].equal(found["both"]["train"])


def test_held_out_time_is_cut_into_windows_plain_and_mirrored(folder):
    source = Mocap(frames=12, folder=folder)
    val = everything(source, "val")
    names = [source.class_names[label] for label in val["label"].tolist()]
    assert names == ["get_up"] * 2 + ["hop"] * 4 + ["run"] * 2  # of 0.27 s, 0.75 s and 0.5 s, and 0.2 s
    assert val["length"].tolist() == [4, 4, 12, 12, 8, 8, 4, 4]
    assert val["sample"].tolist() == list(range(1, 16, 2))
    for place in range(0, 8, 2):
        plain, mirrored = (features_to_joints(val["x"][row].mT) for row in (place, place + 1))
        assert not torch.allclose(mirrored, plain, atol=1e-2)
        assert torch.allclose(HUMANML3D.mirrored(mirrored), plain, atol=1e-4)
    held_out = source._stretches[1][1]
    expected = joints_to_features(held_out.at(torch.arange(13).double() / 20))
    assert torch.allclose(val["x"][2].mT, expected, atol=1e-4)


def test_time_that_is_too_short_to_be_held_out_is_told(tmp_path, caplog):
    write(tmp_path, "long", moving(61))
    path = write(tmp_path, "short", moving(13))
    source = Mocap(folder=tmp_path)
    assert everything(source, "val")["label"].tolist() == [0, 0]
    assert caplog.messages == [f"{path}: the 0.1 s held out are fewer than 4 frames, and not used"]
    (tmp_path / "humanoid3d_long.txt").unlink()
    with pytest.raises(UserError, match="no clip is held out for 4 frames"):
        Mocap(folder=tmp_path).samples("val")


# Training samples.


def test_classes_take_turns_and_all_clips_of_an_action_are_seen(source):
    batch = everything(source, "train")
    assert source.class_names == ["get_up", "hop", "run"]
    assert batch["label"].bincount().tolist() == [80, 80, 80]
    longer = batch["length"][batch["label"] == 1]  # of the 3 s or the 2 s
    assert 20 < (longer > 36).sum() < 60
    assert source.samples("train").texts(torch.tensor([0, 1])) == ["a person get ups", "a person hops"]


def test_a_sample_is_a_window_of_its_clip_at_a_speed(tmp_path):
    """Of a clip whose elbows tell the time."""
    rows = rest(91)  # 3 s, of which the frames up to 67 / 30 s are trained on
    rows[:, START["left_elbow"]] = rows[:, START["right_elbow"]] = 0.3 + 0.9 * np.arange(91) / 30
    write(tmp_path, "clock", rows)
    batch = everything(Mocap(folder=tmp_path, clips=200), "train")
    joints = features_to_joints(batch["x"].mT).double()
    shoulder, elbow, wrist = (joint(joints, f"left_{name}") for name in ("shoulder", "elbow", "wrist"))
    bend = torch.nn.functional.cosine_similarity(elbow - shoulder, wrist - elbow, dim=-1).acos()
    time = (bend - 0.3) / 0.9
    starts, speeds = time[:, 0], 20 * (time[:, 1] - time[:, 0])
    assert 0.85 - 1e-2 < speeds.min() < 0.9 < 1.1 < speeds.max() < 1.18 + 1e-2
    assert -1e-3 < starts.min() < 0.01 < 0.1 < starts.max()
    for row, length in enumerate(batch["length"].tolist()):
        pace = (time[row, length - 1] - time[row, 0]) / (length - 1)
        assert torch.allclose(time[row, :length], starts[row] + pace * torch.arange(length), atol=2e-3)
        assert starts[row] + length * pace < 67 / 30 + 2e-3  # the next pose too, to which the last frame leads
        most = 67 / 30 / float(pace)
        assert length in {min(48, int(most + error) // 4 * 4) for error in (-0.1, 0.1)}


def test_half_of_the_samples_are_mirrored(tmp_path):
    rows = rest(31)
    rows[:, START["left_elbow"]] = 1.5
    write(tmp_path, "point", rows)
    batch = everything(Mocap(folder=tmp_path, clips=200), "train")
    joints = features_to_joints(batch["x"].mT)[:, 0]
    left, right = (joint(joints, f"{side}_wrist")[:, 2] > 0.2 for side in ("left", "right"))
    assert (left ^ right).all()
    assert 70 < left.sum() < 130


def test_statistics_are_those_of_real_training_frames(source):
    mean, std = source.statistics()
    batch = everything(source, "train")
    frames = torch.cat([x[:, :length] for x, length in zip(batch["x"], batch["length"].tolist())], 1).double()
    assert torch.allclose(mean.double(), frames.mean(1), atol=1e-5)
    for group in SLICES.values():
        assert torch.allclose(std[group].double(), frames[group].std(1, correction=0).mean().expand(std[group].shape))
    assert mean.dtype == std.dtype == torch.float32


# The data module, and tokens.


def test_numbers_that_are_not_finite_are_refused(folder):
    broken = {"x": torch.full((1, 263, 48), math.nan)}
    with pytest.raises(UserError, match="samples must be floats and finite"):
        data_module(Mocap, folder=str(folder)).on_after_batch_transfer(broken, 0)


def test_fake_tokens_of_motions_have_lengths(tmp_path):
    spec = load_tokenizer(motion_tokenizer_run(tmp_path / "tokenizer")).spec
    fake = CachedTokens.make_fake(tmp_path / "tokens", spec=spec)
    assert everything(CachedTokens(fake["path"]), "val")["length"].tolist() == [12] * 4


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 3}, "data.source.frames must be at least 4"),
        ({"clips": 0}, "data.source.clips must be at least 1"),
        ({"fps": 0}, "data.source.fps must be 1 to 240"),
        ({"fps": math.nan}, "data.source.fps"),
        ({"speed": (2, 1)}, r"data.source.speed .* got \[2, 1\]"),
        ({"speed": (1,)}, "data.source.speed"),
        ({"held_out": 1.0}, "data.source.held_out must be a share"),
        ({"mixed": 1.5}, "data.source.mixed must be a share"),
    ],
)
def test_settings_out_of_range_are_refused(folder, changes, message):
    with pytest.raises(UserError, match=message):
        Mocap(folder=folder, **changes)


def with_(row, column, value):
    rows = moving(31)
    rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged or no JSON"),
        ("[1, 2]", "no clip of DeepMimic's"),
        ('{"Loop": "wrap"}', "it has no 'Frames'"),
        ('{"Frames": "many"}', "no clip of DeepMimic's"),
        ('{"Frames": [[1, 2], [1]]}', "no clip of DeepMimic's"),
        ('{"Frames": []}', r"has frames \(0,\), and a clip has two or more of 44 numbers"),
        (moving(31)[:, :43], r"has frames \(31, 43\)"),
        (moving(1), r"has frames \(1, 44\)"),
        (with_(7, 5, math.nan), r"holds numbers that are not finite, first in frame 7"),
        (with_(3, 0, 0), "has a frame that does not last: number 3, of 0 s"),
        (with_(3, 0, -1), "number 3, of -1 s"),
        (with_(2, slice(8, 12), 0), "turns spine2 by no rotation in frame 2"),
        (moving(6), r"leaves 0\.1 s to train on, fewer than 4 frames at the fastest"),
    ],
)
def test_clips_that_are_no_use_are_named(tmp_path, content, message):
    path = write(tmp_path, "bad", content if not isinstance(content, str) else [])
    if isinstance(content, str):
        path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        Mocap(folder=tmp_path).samples("train")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(tmp_path, folder, monkeypatch):
    with pytest.raises(UserError, match="is no folder"):
        Mocap(folder=tmp_path / "none")
    with pytest.raises(UserError, match="has no clips in it"):
        Mocap(folder=tmp_path)
    monkeypatch.setitem(sys.modules, "pybullet_data", None)
    with pytest.raises(UserError, match=r"pip install 'mmgen\[motion\]'"):
        Mocap()


def test_what_is_no_clip_of_a_folder_is_counted(tmp_path, caplog):
    arguments = Mocap.make_fake(tmp_path)
    for name in ("walk.txt", "notes.md"):
        (tmp_path / name).touch()
    assert len(Mocap(**arguments).files) == len(list(tmp_path.iterdir())) - 2
    parts = "1 file(s) with the suffix .md (notes.md), 1 file(s) not called humanoid3d_* (walk.txt)"
    assert f"{tmp_path}: 2 left aside: {parts}" in caplog.messages
