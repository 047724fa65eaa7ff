"""How people lay folders out: splits under other names, one folder too deep, and names that are no classes."""

import os
from pathlib import Path

import pytest
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.data.sources.folder_layout import split_of
from mmgen.data.sources.scan import IMAGES
from mmgen.modalities.image.sources.image_folder import ImageFolder
from tests.data.training import everything


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(root / name, "PNG")
    return root


def split(folder: str, classes: str = "cat dog", count: int = 2) -> list[str]:
    return [f"{folder}/{name}/{number}.png" for name in classes.split() for number in range(count)]


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("Train", "Val"), ("training", "validation"), ("training_set", "dev"), ("TRAIN", "valid")],
)
@pytest.mark.parametrize("around", ["", "archive/", "archive/data/"])
def test_splits_by_other_names_and_one_folder_too_deep(train: str, val: str, around: str, tmp_path: Path) -> None:
    write(tmp_path, *split(f"{around}{train}"), *split(f"{around}{val}", count=1))
    source = ImageFolder(tmp_path, image_size=8)
    assert source.class_names == ["cat", "dog"]
    assert everything(source, "train")["label"].tolist() == [0, 0, 1, 1]
    assert everything(source, "val")["label"].tolist() == [0, 1]


def test_a_folder_too_deep_in_each_split(tmp_path: Path) -> None:
    """As archives unpack that hold a folder of their own name."""
    write(tmp_path, *split("train/train"), *split("val/val", count=1))
    source = ImageFolder(tmp_path, image_size=8)
    assert source.class_names == ["cat", "dog"]
    assert [len(source.samples(name)) for name in ("train", "val")] == [4, 2]


@pytest.mark.parametrize("around", ["data", "data/images", "train/train"])
def test_classes_one_folder_too_deep(around: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = ImageFolder(write(tmp_path, *split(around)), image_size=8, held_out=2)
    assert source.class_names == ["cat", "dog"]
    assert everything(source, "train")["label"].tolist() == [0, 1]
    assert (
        f"all is in its one folder {around.removeprefix('train/')}, which is read in its place" in caplog.messages[-1]
    )


def test_captions_beside_a_folder_too_deep_are_read(tmp_path: Path) -> None:
    write(tmp_path, *split("data/train"))
    (tmp_path / "data" / "captions.csv").write_text("file_name,caption\ntrain/cat/0.png,a cat\n")
    train = ImageFolder(tmp_path, image_size=8, held_out=4).samples("val")
    assert train.captions is not None
    assert train.captions.flat() == ["a cat"]


def test_a_split_for_tests_is_no_class_and_its_images_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, *split("Train", count=3), *split("testing"), "extra/0.png", "loose.png")
    source = ImageFolder(tmp_path, image_size=8, held_out=3)
    assert source.class_names == ["cat", "dog"]
    assert caplog.messages == [
        f"{tmp_path}: 1 image(s) beside the folder Train are not read (loose.png)",
        f"{tmp_path}: 2 folder(s) with images beside Train are not read: extra, testing",
    ]


def test_an_empty_folder_named_as_a_split_is_no_hindrance(tmp_path: Path) -> None:
    write(tmp_path, *split("."))
    (tmp_path / "test").mkdir()
    assert ImageFolder(tmp_path, image_size=8).class_names == ["cat", "dog"]


def test_a_train_among_vehicles_is_refused(tmp_path: Path) -> None:
    write(tmp_path, *split(".", "bus car train"))
    with pytest.raises(UserError, match="has a folder train without classes beside bus, car: a split or a class"):
        ImageFolder(tmp_path)
    write(tmp_path / "plain", "train/0.png", "train/1.png", "test/0.png")
    assert ImageFolder(tmp_path / "plain", image_size=8).class_names == []


@pytest.mark.parametrize(("link", "target"), [("val", "train"), ("val/cat", "../train/cat")])
def test_images_that_are_trained_on_and_held_out_are_reported(
    link: str, target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, *split("train"))
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(target)
    source = ImageFolder(tmp_path, image_size=8)
    assert [len(source.samples(each)) for each in ("train", "val")] == [4, 4 if link == "val" else 2]
    one = f"{tmp_path / link.replace('val', 'train')} and {tmp_path / link} are one folder"
    assert caplog.messages == [f"{one}: its images are both trained on and held out"]


@pytest.mark.parametrize("other", ["val", "Validation", "test", "Testing"])
def test_a_split_without_one_to_train_on_is_no_class(other: str, tmp_path: Path) -> None:
    write(tmp_path, "cat/0.png", "dog/0.png", f"{other}/0.png")
    with pytest.raises(UserError, match=f"has a folder {other} but none named train"):
        ImageFolder(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path, *split("train"), *split("val"), *split("validation"))
    with pytest.raises(UserError, match="several folders for the split val: val, validation; keep one"):
        ImageFolder(tmp_path)


def test_classes_whose_images_all_lie_deeper_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, *split("pictures"), *split("masks"))
    assert ImageFolder(tmp_path, image_size=8).class_names == ["masks", "pictures"]
    assert "the classes are masks, pictures, and all their images lie in folders within them" in caplog.text


def test_one_folder_alone_is_reported_as_the_only_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "pictures/0.png", "pictures/1.png")
    assert ImageFolder(tmp_path, image_size=8).class_names == ["pictures"]
    hint = f"to have none, set data.source.root to {tmp_path / 'pictures'}"
    assert caplog.messages == [f"{tmp_path}: pictures is the only class; {hint}"]


def test_links_back_make_no_class_and_no_image_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, *split("cat", "."), *split("dog", "."))
    for name in ("here", "back"):
        (tmp_path / "cat" / name).symlink_to("." if name == "here" else "..")
    source = ImageFolder(tmp_path, image_size=8, held_out=2)
    assert everything(source, "train")["label"].tolist() == [0, 1]
    assert caplog.messages == [f"{tmp_path}: 2 left aside: 2 link(s) to a folder read already (cat/back)"]


@pytest.mark.parametrize(
    ("folder", "shown"),
    [
        (b"caf\xe9", r"caf\xe9"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        (b"two\nlines", r"two\nlines"),
        ("two\u2028lines".encode(), r"two\u2028lines"),
        ("caf\u00e9 \u732b".encode(), "caf\u00e9 \u732b"),
    ],
)
def test_a_class_of_odd_bytes_has_a_name_that_can_be_written(folder: bytes, shown: str, tmp_path: Path) -> None:
    for each in (os.fsdecode(folder), "zebra"):
        write(tmp_path / each, "0.png", "1.png")
    source = ImageFolder(tmp_path, image_size=8, held_out=2)
    assert source.class_names == [shown, "zebra"]
    assert everything(source, "train")["label"].tolist() == [0, 1]


@pytest.mark.parametrize("folder", ["trains", "tester", "eval-cat", "train-clean-100", "n01440764"])
def test_other_names_are_no_splits(folder: str) -> None:
    assert split_of(folder, IMAGES) is None


@pytest.mark.parametrize("folder", ["trainset", "train2017", "train_images", "Training Set"])
def test_common_names_of_splits(folder: str) -> None:
    assert split_of(folder, IMAGES) == "train"
