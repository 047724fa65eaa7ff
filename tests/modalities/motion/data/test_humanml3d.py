"""Folders of motions with captions: layout, parts, windows, what is kept, and files that are no use."""

import json

import numpy as np
import pytest
import torch

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.modalities.motion.features import feature_slices, joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT
from mmgen.modalities.motion.sources import motion_folder
from mmgen.modalities.motion.sources.humanml3d import HumanML3D
from tests.data.training import everything
from tests.modalities.motion.gait import walk

WALK = {skeleton: walk(skeleton, 260).float() for skeleton in (HUMANML3D, KIT)}
SLICES = feature_slices(263)


def features(frames, first=0, skeleton=HUMANML3D):
    """So many frames of a walk; the height of the root is then the number of the frame."""
    made = joints_to_features(WALK[skeleton][first : first + frames + 1])
    made[:, 3] = torch.arange(first, first + frames)
    return made.numpy()


class Folder:
    """Writes motions as HumanML3D is laid out."""

    def __init__(self, root, kind="new_joint_vecs"):
        self.root, self.kind = root, kind
        for name in (kind, "texts"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for split in ("train", "val"):
            (root / f"{split}.txt").touch()

    def add(self, name, motion, *captions, split="train"):
        path = self.root / self.kind / f"{name}.npy"
        np.save(path, motion)
        if captions:
            (self.root / "texts" / f"{name}.txt").write_text("".join(f"{line}\n" for line in captions))
        with (self.root / f"{split}.txt").open("a") as file:
            file.write(f"{name}\n")
        return path

    def source(self, **arguments):
        return HumanML3D(self.root, **{"cache": self.root / "cache", "least": 8, "frames": 48} | arguments)


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "HumanML3D")
    made.add("000001", features(60), "A man walks.#a/DET man/NOUN#0.0#0.0", "someone goes#someone/NOUN#0.0#0.0")
    made.add("000002", features(20), "he stops#he/PRON#0.0#0.0")
    made.add("M000002", features(30), "he  walks#he/PRON#0.0#0.0", "he turns#x#0.5#1.0", "he sits#x#nan#nan")
    made.add("000003", features(40), "a person walks#x#0.0#0.0", split="val")
    return made


def frames_of(x):
    """Which frame of its walk each frame shows, from x (..., 263, T)."""
    return x[..., 3, :].round().long()


def test_a_folder_of_features(folder):
    source = folder.source()
    assert (source.fps, source.skeleton, source.sample_shape, source.classes) == (20.0, HUMANML3D, (263, 48), 0)
    batch = everything(source)
    assert batch["length"].tolist() == [48, 20, 28, 8]
    assert batch["label"].tolist() == [-1] * 4
    assert batch["x"][0].mT.equal(torch.from_numpy(features(60)[:48]))
    assert batch["x"][1, :, :20].mT.equal(torch.from_numpy(features(20)))
    assert frames_of(batch["x"][3]).tolist() == [*range(10, 18), *[17] * 40]  # the part from 0.5 s to 1 s
    still = batch["x"][1, :, 20:]
    assert not still[SLICES["velocities"]].any() and (still[SLICES["contacts"]] == 1).all()
    assert still[SLICES["positions"]].equal(batch["x"][1, SLICES["positions"], 19:20].expand(-1, 28))
    val = everything(source, "val")
    assert val["length"].tolist() == [40]
    assert torch.cat([batch["sample"], val["sample"]]).tolist() == list(range(5))


def test_captions_of_motions_and_of_parts(folder):
    source = folder.source()
    samples = source.samples("train")
    index = torch.arange(4)
    assert samples.texts(index) == ["A man walks.", "he stops", "he  walks", "he turns"]
    assert source.text == Text("".join(sorted(set("a man walks.someone goeshe turnssitsstopsa person"))), 14)
    assert [source.text.decode(row) for row in samples.take(index)["text"]] == [
        "a man walks.", "he stops", "he walks", "he turns",
    ]  # fmt: skip
    read = [samples.augmented(index, torch.full((4,), epoch), 0)["text"] for epoch in range(40)]
    said = [{source.text.decode(row) for row in rows} for rows in zip(*read)]
    assert said == [{"a man walks.", "someone goes"}, {"he stops"}, {"he walks", "he sits"}, {"he turns"}]


def test_training_sees_any_window_of_a_longer_motion(folder):
    samples = folder.source(frames=16).samples("train")
    index = torch.tensor([0, 2])
    starts = []
    for epoch in range(60):
        batch = samples.augmented(index, torch.full((2,), epoch), 5)
        assert batch["length"].tolist() == [16, 16]
        shown = frames_of(batch["x"])
        assert (shown.diff(dim=1) == 1).all()
        starts.append(shown[:, 0])
    starts = torch.stack(starts)
    assert starts.min(0).values.max() < 5
    assert starts[:, 0].max() <= 60 - 16 and starts[:, 1].max() <= 30 - 16
    assert starts[:, 0].max() > 38 and starts[:, 1].max() == 14


def test_joints_become_features(tmp_path):
    made = Folder(tmp_path, "new_joints")
    joints = WALK[HUMANML3D]
    made.add("a", joints[:61].numpy(), "walks#x#0#0")
    made.add("b", joints[60:101].numpy(), "goes#x#0#0", split="val")
    source = made.source(frames=60)
    expected = [joints_to_features(part) for part in (joints[:61], joints[60:101])]
    for split, features_ in zip(("train", "val"), expected):
        batch = everything(source, split)
        assert batch["length"].tolist() == [len(features_)]
        assert torch.allclose(batch["x"][0, :, : len(features_)].mT, features_, atol=1e-5)
    assert torch.allclose(source.statistics()[0], expected[0].mean(0), atol=1e-5)


def test_kit(tmp_path):
    made = Folder(tmp_path)
    for name, split in (("a", "train"), ("b", "val")):
        made.add(name, features(30, skeleton=KIT), "walks#x#1.6#0", split=split)
    source = made.source()
    assert (source.skeleton, source.fps, source.sample_shape) == (KIT, 12.5, (251, 48))
    assert frames_of(everything(source)["x"])[0, 0] == 20  # 1.6 s
    assert made.source(fps=10.0).fps == 10.0


def test_motions_alone_need_no_captions(tmp_path):
    made = Folder(tmp_path)
    made.add("a", features(20))
    made.add("b", features(20), split="val")
    source = made.source(captions=False)
    assert source.text is None
    assert set(everything(source)) == {"x", "length", "label", "sample"}
    with pytest.raises(UserError, match="no transcripts"):
        source.samples("train").texts(torch.tensor([0]))
    with pytest.raises(UserError, match="no usable motions, with captions, of 8 or more frames to train on"):
        made.source().samples("train")


def test_the_test_split_and_lists_that_are_no_use(folder, caplog):
    folder.add("000009", features(24), "a test#x#0#0", split="test")
    assert everything(folder.source(held_out="test"), "val")["length"].tolist() == [24]
    with (folder.root / "val.txt").open("a") as file:
        file.write("lost\n\ngone\n")
    caplog.clear()
    folder.source()
    listed = folder.root / "val.txt"
    assert caplog.messages == [f"{listed}: 2 motion(s) are not in {folder.root}/new_joint_vecs, the first is lost"]
    listed.write_text("lost\n")
    with pytest.raises(UserError, match="names no motion that is in"):
        folder.source()
    listed.write_text("M000002\n")
    with pytest.raises(UserError, match=r"M000002 is in both train\.txt and val\.txt"):
        folder.source()
    listed.write_bytes(b"\xff")
    with pytest.raises(UserError, match="line 1: this is not UTF-8"):
        folder.source()
    listed.unlink()
    with pytest.raises(UserError, match=r"val\.txt does not exist"):
        folder.source()


# Statistics, and what is kept.


def test_statistics_are_those_of_the_training_files(folder):
    mean, std = folder.source().statistics()
    frames = np.concatenate([features(count) for count in (60, 20, 30)]).astype(np.float64)
    assert np.allclose(mean, frames.mean(0), atol=1e-5)
    for group in SLICES.values():
        assert np.allclose(std[group], frames[:, group].std(0).mean(), rtol=1e-4)
    assert mean.dtype == std.dtype == torch.float32


def test_a_folder_is_looked_through_once(folder, monkeypatch, caplog):
    first = folder.source()
    first.samples("train")
    assert "4 motions are looked through" in caplog.text
    monkeypatch.setattr(motion_folder, "_look_through", None)
    again = folder.source()
    assert all(one.equal(other) for one, other in zip(first.statistics(), again.statistics()))
    assert everything(again)["x"].equal(everything(first)["x"])
    monkeypatch.undo()
    folder.add("000002", features(20, first=100))  # of the same size, and listed twice
    changed = folder.source()
    assert not changed.statistics()[0].equal(first.statistics()[0])
    assert frames_of(everything(changed)["x"])[1, 0] == 100


def test_what_is_kept_may_be_damaged_or_not_be_kept(folder, caplog):
    mean = folder.source().statistics()[0]
    (kept,) = (folder.root / "cache").iterdir()
    for content in ("{", '{"frames": {}}', json.dumps({"frames": {}, "skipped": {}, "mean": [0], "std": [1]})):
        kept.write_text(content)
        caplog.clear()
        assert folder.source().statistics()[0].equal(mean)
        assert "is damaged" in caplog.messages[0]
    blocked = folder.root / "file"
    blocked.touch()
    caplog.clear()
    assert folder.source(cache=blocked).statistics()[0].equal(mean)
    assert "so the folder is looked through each time" in caplog.messages[-1]


# What is no use.


def test_useless_motions_are_skipped_with_their_names(folder, caplog):
    nan = features(20)
    nan[7, 3] = np.nan
    caption = "walks#x#0#0"
    folder.add("nan", nan, caption)
    folder.add("joints", np.zeros((20, 21, 3), np.float32), caption)
    folder.add("other", np.zeros((20, 251), np.float32), caption)
    folder.add("none", np.zeros((0, 263), np.float32), caption)
    folder.add("words", np.array(["a", "b"]), caption, split="val")
    folder.add("empty", features(20), caption).write_bytes(b"")
    source = folder.source()
    assert len(source.samples("train")) == 4
    told = [message for message in caplog.messages if "skipped" in message]
    place = folder.root / "new_joint_vecs"
    assert told == [
        f"{place}: 6 file(s) skipped: nan, joints, other, ..., the first because {place}/nan.npy holds numbers that are"
        " not finite, first in frame 7"
    ]
    caplog.clear()
    folder.source().samples("val")  # what is kept says it too
    assert [message for message in caplog.messages if "skipped" in message] == told
    reasons = source._survey.skipped
    assert reasons["joints"].endswith("has shape (20, 21, 3), and motions here are (frames, 263)")
    assert reasons["other"].endswith("has shape (20, 251), and motions here are (frames, 263)")
    assert reasons["none"].endswith("has no frames")
    assert reasons["words"].endswith("holds no array of numbers")
    assert "is no array, or a damaged one" in reasons["empty"]


def test_useless_joints_are_skipped_with_their_names(tmp_path):
    made = Folder(tmp_path, "new_joints")
    joints = WALK[HUMANML3D].numpy()
    made.add("good", joints[:30], "walks#x#0#0")
    made.add("kit", WALK[KIT].numpy()[:30], "walks#x#0#0")
    made.add("one", joints[:1], "walks#x#0#0")
    broken = joints[:30].copy()
    broken[4, 2] = np.inf
    made.add("inf", broken, "walks#x#0#0")
    made.add("held", joints[:30], "walks#x#0#0", split="val")
    source = made.source()
    assert len(source.samples("train")) == 1
    skipped = source._survey.skipped
    assert skipped["kit"].endswith("has 21 joints, others here 22")
    assert skipped["one"].endswith("has one frame, which does not move")
    assert "positions that are not numbers (first in frame 4, right_hip)" in skipped["inf"]


def test_useless_captions_are_skipped_with_their_names(folder, caplog):
    folder.add("no_text", features(20))
    folder.add("blank", features(20), " ", "#x#0#0")
    folder.add("wrong", features(20), "walks#x#soon#later")
    folder.add("backwards", features(20), "walks#x#0.9#0.4")
    folder.add("short", features(20), "walks#x#0.1#0.3", "walks on#x#0#0")
    folder.add("spanish", features(20), "walks#x#0#0", "mañana va más lejos#x#0#0")
    folder.add("long", features(20), "walks and walks and walks#x#0#0")
    source = folder.source(alphabet="abcdefghijklmnopqrstuvwxyz. ", max_text=15)
    samples = source.samples("train")
    texts = folder.root / "texts"
    assert samples.texts(torch.arange(len(samples)))[4:] == ["walks on", "walks"]
    assert [message for message in caplog.messages if "skipped" in message] == [
        f"{texts}: 4 file(s) skipped: no_text, blank, wrong, ..., the first because {texts}/no_text.txt does not exist,"
        " so its motion has no caption",
        f"{folder.root}: 1 motion(s) or part(s) of fewer than 8 frames skipped",
        f"{texts}: 2 file(s) skipped: spanish, long, the first because 'á', 'ñ' is not in data.source.alphabet",
    ]


def test_a_motion_that_is_damaged_later_is_named(folder):
    samples = folder.source().samples("train")
    (folder.root / "new_joint_vecs" / "000002.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"000002\.npy is no array"):
        samples.take(torch.tensor([1]))
    np.save(folder.root / "new_joint_vecs" / "000001.npy", features(12))
    with pytest.raises(UserError, match="has 12 frames, and had 60 before training"):
        samples.take(torch.tensor([0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"least": 3}, "data.source.least must be 4 to data.source.frames 48, got 3"),
        ({"least": 50}, "data.source.least must be 4 to data.source.frames 48, got 50"),
        ({"fps": 0}, "data.source.fps must be 1 to 240"),
        ({"max_text": 0}, "data.source.max_text must be at least 1"),
        ({"held_out": "train"}, "data.source.held_out 'train' is not one of val, test"),
    ],
)
def test_settings_out_of_range_are_refused(folder, changes, message):
    with pytest.raises(UserError, match=message):
        folder.source(**changes)


def test_folders_that_are_no_use_are_named(tmp_path, folder):
    with pytest.raises(UserError, match="not laid out as HumanML3D is"):
        HumanML3D(tmp_path / "none")
    with pytest.raises(UserError, match="no usable motions, with captions, of 60 or more frames to hold out"):
        folder.source(least=60, frames=60).samples("val")
    for name in ("000001", "000002", "M000002"):
        np.save(folder.root / "new_joint_vecs" / f"{name}.npy", np.full((9, 263), np.nan))
    with pytest.raises(UserError, match=r"no motion can be trained on, the first because .*000001"):
        folder.source().statistics()
    np.save(folder.root / "new_joint_vecs" / "000003.npy", np.zeros((9, 7)))
    for name in ("000001", "000002", "M000002"):
        (folder.root / "new_joint_vecs" / f"{name}.npy").write_bytes(b"?")
    with pytest.raises(UserError, match="holds no motion: files are"):
        folder.source()
