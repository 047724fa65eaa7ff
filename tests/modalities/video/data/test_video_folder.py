"""Folders of videos: layouts, which frames a clip is made of, and files that are no use."""

from pathlib import Path
from typing import Any

import av
import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.sources import Samples
from mmgen.media.video import read_clip, write_mp4
from mmgen.modalities.video.sources.video_folder import VideoFolder
from tests.data.training import everything
from tests.numbered_videos import numbers, write_numbered

SECOND = [number / 25 for number in range(26)]
SMALL = {"frames": 4, "size": 8, "channels": 1, "fps": 5.0}


def write(folder: Path, *names: str) -> None:
    for name in names:
        write_numbered(folder / name, SECOND, codec="mpeg4")


def names(samples: Samples) -> list[str]:
    return [name.decode() for name in samples.listing.names]  # type: ignore[attr-defined]


@pytest.fixture
def kinetics(tmp_path: Path) -> Path:
    """Two classes, as Kinetics lays them out."""
    write(tmp_path / "train" / "run", "b.mp4", "a.mp4")
    write(tmp_path / "train" / "jump", "x.mp4")
    write(tmp_path / "val" / "jump", "v.mp4")
    write(tmp_path / "val" / "run", "w.mp4")
    return tmp_path


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    """Two classes, as UCF-101 and its lists lay them out."""
    for group in ("g01", "g02"):
        write(tmp_path / "UCF-101" / "YoYo", f"v_YoYo_{group}_c01.avi")
        write(tmp_path / "UCF-101" / "Archery", f"v_Archery_{group}_c01.avi")
    (tmp_path / "train.txt").write_text("YoYo/v_YoYo_g02_c01.avi 2\r\nArchery/v_Archery_g02_c01.avi 1\r\n")
    (tmp_path / "test.txt").write_text("Archery/v_Archery_g01_c01.avi\nYoYo/v_YoYo_g01_c01.avi\n\n")
    return tmp_path


def test_the_layout_of_ucf101_and_its_lists(ucf: Path) -> None:
    lists = {"train_list": ucf / "train.txt", "val_list": ucf / "test.txt"}
    source = VideoFolder(ucf / "UCF-101", **SMALL, **lists)
    assert source.class_names == ["Archery", "YoYo"]
    assert names(source.samples("train")) == ["YoYo/v_YoYo_g02_c01.avi", "Archery/v_Archery_g02_c01.avi"]
    assert names(source.samples("val")) == ["Archery/v_Archery_g01_c01.avi", "YoYo/v_YoYo_g01_c01.avi"]
    train, val = everything(source, "train"), everything(source, "val")
    assert (train["label"].tolist(), val["label"].tolist()) == ([1, 0], [0, 1])
    assert (train["sample"].tolist(), val["sample"].tolist()) == ([0, 1], [2, 3])


def test_lists_with_mistakes(ucf: Path, caplog: pytest.LogCaptureFixture) -> None:
    def build(train: str, val: str | None = "test.txt") -> VideoFolder:
        lists = {"train_list": ucf / train, "val_list": None if val is None else ucf / val}
        return VideoFolder(ucf / "UCF-101", **SMALL, **lists)

    (ucf / "more.txt").write_text("YoYo/v_YoYo_g02_c01.avi 2\nYoYo/v YoYo 9.avi 2\nYoYo/gone.avi 2\n")
    assert len(build("more.txt").samples("train")) == 1
    assert caplog.messages == [
        f"{ucf / 'more.txt'}: 2 file(s) are not in {ucf / 'UCF-101'}, the first is YoYo/v YoYo 9.avi"
    ]
    (ucf / "wrong.txt").write_text("UCF-101/YoYo/v_YoYo_g02_c01.avi 2\n")
    for train, val, message in (
        ("none.txt", "test.txt", r"list .*none.txt cannot be read"),
        ("wrong.txt", "test.txt", r"wrong.txt names no file that is in .*UCF-101: a line is the path of a file"),
        (
            "test.txt",
            "test.txt",
            r"Archery/v_Archery_g01_c01.avi is in both data.source.train_list and data.source.val_list",
        ),
        ("train.txt", None, r"data.source.train_list and data.source.val_list go together"),
    ):
        with pytest.raises(UserError, match=message):
            build(train, val).samples("train")


def test_validation_sees_the_middle_at_the_stated_rate(tmp_path: Path) -> None:
    """60 frames in 2.4 s; five of them at 10 a second span 0.5 s, so that the clip begins after 0.95 s."""
    for name in ("a.mp4", "b.mp4"):
        write_numbered(tmp_path / name, [number / 25 for number in range(60)])
    source = VideoFolder(tmp_path, frames=5, size=8, channels=1, fps=10, held_out=2)
    expected = [int((0.95 + step / 10) * 25 + 1e-6) for step in range(5)]
    x = everything(source, "val")["x"][0]
    assert numbers(x) == expected
    assert x.equal(read_clip(tmp_path / "a.mp4", (1, 5, 8, 8), fps=10, start=0.95))
    whole = VideoFolder(tmp_path, frames=24, size=8, channels=1, fps=10, held_out=2)
    assert numbers(everything(whole, "val")["x"][0]) == [int(step * 2.5 + 1e-6) for step in range(24)]


def test_training_sees_random_stretches_at_the_stated_rate(tmp_path: Path) -> None:
    """Also of a file whose frame rate varies: what is shown is what its timestamps say."""
    stamps = [number / 25 for number in range(30)] + [1.2 + number / 10 for number in range(12)]
    for name in ("a.mp4", "b.mp4"):
        write_numbered(tmp_path / name, stamps)
    source = VideoFolder(tmp_path, frames=5, size=8, channels=1, fps=10, held_out=2, augment="start")
    epochs = torch.arange(60)
    clips = source.samples("train").augmented(torch.zeros_like(epochs), epochs, seed=3)["x"]
    begins = []
    for clip in clips:
        found = torch.tensor(numbers(clip))
        shown = torch.tensor([*stamps, 2.34])  # the last frame is shown as long as its file's rate says
        # A stretch explains a clip when one beginning lies within every frame's time, less its distance in the clip.
        low = (shown[found] - torch.arange(5) / 10).max()
        high = (shown[found + 1] - torch.arange(5) / 10).min()
        assert low <= high + 1e-3
        begins.append((low + high) / 2)
    spread = torch.stack(begins)
    assert spread.min() < 0.2
    assert spread.max() > 1.6
    assert abs(spread.mean() - 0.92) < 0.25  # half of 2.34 - 0.5


def test_all_frames_of_a_clip_have_the_same_cut(tmp_path: Path) -> None:
    """A still ramp stays still; the cut differs between epochs, and is mirrored in about half of them."""
    ramp = torch.linspace(-1, 1, 64).expand(1, 12, 32, 64)
    for name in ("a.mp4", "b.mp4"):
        write_mp4(ramp, tmp_path / name, fps=10)
    for augment in ("crop", "flip", "start", "none"):
        source = VideoFolder(tmp_path, **(SMALL | {"fps": 10}), held_out=2, augment=augment)
        epochs = torch.arange(24)
        x = source.samples("train").augmented(torch.zeros_like(epochs), epochs, seed=0)["x"].mean((1, 3))
        assert (x - x[:, :1]).abs().max() < 0.03
        mirrored = (x[:, 0, 0] > x[:, 0, -1]).double().mean()
        assert (0.2 < mirrored < 0.8) if augment in ("crop", "flip") else mirrored == 0
        lefts = x[:, 0].amin(1)
        assert (lefts.max() - lefts.min() > 0.5) == (augment == "crop")


def useless(folder: Path) -> int:
    """Files that a scan skips; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "aa_text.mp4").write_text("no video")
    (folder / "empty.mp4").touch()
    write_numbered(folder / "short.mp4", SECOND[:10])
    write_numbered(folder / "strip.mp4", SECOND, size=(2, 66))
    whole = write_numbered(folder / "cut.mp4", SECOND).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    whole = write_numbered(folder / "cut_late.mp4", SECOND, container={"movflags": "faststart"}).read_bytes()
    (folder / "cut_late.mp4").write_bytes(whole[:-100])
    with av.open(folder / "no_frame.avi", "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    return 7


def test_useless_files_are_skipped_with_a_count(kinetics: Path, caplog: pytest.LogCaptureFixture) -> None:
    count = useless(kinetics / "train" / "run")
    write_numbered(kinetics / "train" / "run" / "odd.mp4", [0, 0.04, 0.3, 0.5, 0.51, 0.9, 0.92], size=(18, 38))
    source = VideoFolder(kinetics, **SMALL)
    assert [name.split("/")[1] for name in names(source.samples("train"))] == ["x.mp4", "a.mp4", "b.mp4", "odd.mp4"]
    assert everything(source, "train")["sample"].tolist()[-1] == 8  # the useless ones have numbers too
    first = kinetics / "train" / "run" / "aa_text.mp4"
    reason = f"{first} is not a video, or a damaged or truncated one"
    skipped = "run/aa_text.mp4, run/cut.mp4, run/cut_late.mp4, ..."
    assert caplog.messages == [f"{kinetics / 'train'}: {count} file(s) skipped: {skipped}, the first because {reason}"]


def test_repeated_frames_are_told(kinetics: Path, caplog: pytest.LogCaptureFixture) -> None:
    everything(VideoFolder(kinetics, **(SMALL | {"fps": 50})), "val")
    repeated = "frames repeated, because there are fewer than 50 a second, in"
    assert caplog.messages == [
        f"{kinetics / 'train'}: {repeated} 3 video(s) (jump/x.mp4)",
        f"{kinetics / 'val'}: {repeated} 2 video(s) (jump/v.mp4)",
    ]


def test_a_folder_without_one_usable_video_is_refused_in_one_line(tmp_path: Path) -> None:
    useless(tmp_path / "all" / "train" / "run")
    useless(tmp_path / "all" / "val" / "run")
    useless(tmp_path / "flat")
    for folder, message in (
        (tmp_path / "all", r"train has no usable videos of at least 4 frames at 5 a second for the train split"),
        (tmp_path / "flat", r"flat has no usable videos of at least 4 frames at 5 a second for the train split"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            VideoFolder(folder, **SMALL).samples("train")
        assert "\n" not in str(caught.value)


def damage(path: Path) -> None:
    """Changes the frames, where only decoding finds it."""
    content = bytearray(path.read_bytes())
    begin, end = content.index(b"mdat") + 4, content.index(b"moov")
    begin, end = begin + (end - begin) * 7 // 10, begin + (end - begin) * 9 // 10
    content[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(content)


def test_damage_that_shows_when_a_file_is_read(kinetics: Path) -> None:
    damage(write_numbered(kinetics / "train" / "jump" / "x.mp4", SECOND))
    train = VideoFolder(kinetics, **SMALL).samples("train")
    assert len(train) == 3
    with pytest.raises(UserError, match=r"x.mp4 is not a video, or a damaged"):
        train.take(torch.tensor([1, 0]))
    assert train.augmented(torch.tensor([0]), torch.tensor([0]), 0)["sample"].tolist() == [1]


def test_without_a_check_useless_files_are_replaced_when_they_are_read(
    kinetics: Path, caplog: pytest.LogCaptureFixture
) -> None:
    useless(kinetics / "train" / "jump")
    (kinetics / "train" / "jump" / "strip.mp4").unlink()  # only a check finds that it is one
    train = VideoFolder(kinetics, **SMALL, check=False).samples("train")
    assert names(train)[:3] == ["jump/aa_text.mp4", "jump/cut.mp4", "jump/cut_late.mp4"]
    assert caplog.messages == []
    batch = train.augmented(torch.tensor([0, 6, 1]), torch.zeros(3, dtype=torch.int64), 0)
    assert batch["sample"].tolist() == [6, 6, 6]
    assert batch["x"][0].equal(batch["x"][1])
    assert len(caplog.messages) == 6
    assert all("the next video takes its place" in message for message in caplog.messages)
    checked = VideoFolder(kinetics, **SMALL).samples("val")
    unchecked = VideoFolder(kinetics, **SMALL, check=False).samples("val")
    assert unchecked.take(torch.tensor([0, 1]))["x"].equal(checked.take(torch.tensor([0, 1]))["x"])


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [("size", 0, "at least 1"), ("channels", 2, "1 or 3"), ("held_out", 1, "at least 2"), ("frames", 0, "at least 1")]
    + [("fps", value, "above 0") for value in (0.0, -3.0, float("nan"))],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, name: str, value: Any, rule: str) -> None:
    with pytest.raises(UserError, match=f"data.source.{name} must be {rule}, got {value}"):
        VideoFolder(tmp_path, **{name: value})
