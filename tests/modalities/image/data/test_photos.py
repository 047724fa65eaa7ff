"""Photographs: whole ones are held out, training crops are anew in each epoch, validation's never change."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.media.image_file import open_image
from mmgen.media.images import from_pil, save_png
from mmgen.modalities.image.sources.photos import HELD_OUT, TRAIN, Photos

SIZE = 32


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return Photos(SIZE, **Photos.make_fake(tmp_path_factory.mktemp("photos"), samples=600))


def test_scikit_image_carries_them_all_and_none_is_in_both_splits():
    skimage = pytest.importorskip("skimage.data")
    folder = Path(skimage.__file__).parent
    assert not set(TRAIN) & set(HELD_OUT)
    assert all((folder / name).is_file() for name in TRAIN + HELD_OUT)
    source = Photos()
    train, val = source.samples("train"), source.samples("val")
    assert (len(train), source.sample_shape, source.class_names) == (2048, (3, 64, 64), [])
    assert (len(train.photos), len(val.photos)) == (len(TRAIN), len(HELD_OUT))
    for samples in (train, val):
        batch = samples.take(torch.arange(40))
        assert batch["x"].shape == (40, 3, 64, 64)
        assert -1 <= batch["x"].min() < -0.5 < 0.5 < batch["x"].max() <= 1
        assert batch["label"].tolist() == [-1] * 40
        assert batch["x"].std((1, 2, 3)).median() > 0.15  # crops show something


def test_validation_tiles_held_out_photographs_at_each_scale(photos):
    val = photos.samples("val")
    assert len(val.photos) == 2  # of five, numbers 0 and 4
    covered = {}
    for box in val.grid:
        width, height = val.photos[box.photo].size
        assert 0 <= box.left <= width - box.side
        assert 0 <= box.top <= height - box.side
        assert box.side >= SIZE
        mask = covered.setdefault((box.photo, box.side), torch.zeros(height, width, dtype=torch.int64))
        mask[box.top : box.top + box.side, box.left : box.left + box.side] += 1
    assert {count for mask in covered.values() for count in mask.unique().tolist()} <= {0, 1}  # none overlaps
    assert all(mask.double().mean() > 0.65 for mask in covered.values())
    assert len(covered) == 2 * 4


def test_training_crops_lie_inside_and_spread_evenly(photos):
    train = photos.samples("train")
    index = torch.arange(len(train))
    seen = [box for epoch in range(4) for box in train.boxes(index, torch.full_like(index, epoch), seed=0)]
    count = torch.tensor([box.photo for box in seen]).bincount(minlength=3).double()
    expected = len(seen) / 3
    assert ((count - expected).square() / expected).sum() < 13.8  # chi-square of 2 degrees of freedom at 0.001
    for box in seen:
        width, height = train.photos[box.photo].size
        assert SIZE <= box.side <= min(width, height)
        assert 0 <= box.left <= width - box.side
        assert 0 <= box.top <= height - box.side
    sides = torch.tensor([float(box.side) for box in seen]).log()
    middle = (torch.tensor([SIZE, 4 * SIZE]).double().log().mean() - sides.double().mean()).abs()
    assert middle < 5 * sides.std() / len(seen) ** 0.5 + 0.01  # log-uniform; sides are whole pixels
    assert 0.45 < torch.tensor([box.mirrored for box in seen]).double().mean() < 0.55


def test_a_crop_at_the_smallest_scale_is_the_photograph_itself(tmp_path):
    """Where a photograph is exactly one crop large, nothing is left to chance but the mirror."""
    picture = torch.linspace(-1, 1, 3 * SIZE * SIZE).view(3, SIZE, SIZE)
    for name in "ab":
        save_png(picture, tmp_path / f"{name}.png")
    expected = from_pil(open_image(tmp_path / "a.png", 3))
    source = Photos(SIZE, samples=8, folder=tmp_path)
    assert source.samples("val").take(torch.tensor([0]))["x"][0].equal(expected)
    crops = source.samples("train").take(torch.arange(8))["x"]
    same = [crop.equal(expected) for crop in crops]
    assert all(equal or crop.flip(-1).equal(expected) for equal, crop in zip(same, crops, strict=True))
    assert {True, False} == set(same)


def test_taking_training_samples_as_they_are_gives_the_crops_of_epoch_0(photos):
    train, index = photos.samples("train"), torch.tensor([5, 0, 599])
    fixed = train.take(index)
    assert fixed["x"].equal(train.augmented(index, torch.zeros(3, dtype=torch.int64), 0)["x"])
    assert not fixed["x"].equal(train.augmented(index, torch.ones(3, dtype=torch.int64), 0)["x"])


def test_mistakes_are_told_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"is no folder: data.source.folder must hold photographs"):
        Photos(folder=tmp_path / "none").samples("train")
    Image.new("RGB", (70, 80)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"holds 1 photograph.*too few to hold one in 4 out"):
        Photos(folder=tmp_path).samples("train")
    Image.new("RGB", (70, 60)).save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b.png is 70x60 pixels, too small for crops of data.source.image_size 64"):
        Photos(folder=tmp_path).samples("train")
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"holds 1 photograph"):
        Photos(folder=tmp_path).samples("train")
    with pytest.raises(UserError, match="at least 1"):
        Photos(image_size=0)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(UserError, match=r"pip install 'mmgen\[data\]'"):
        Photos().samples("train")


def test_photographs_that_are_skipped_or_converted_and_what_is_left_aside_is_reported(tmp_path, caplog):
    """What is skipped leaves the numbers of the others as they are."""
    for number in range(6):
        Image.new("L" if number == 5 else "RGB", (70, 80)).save(tmp_path / f"{number}.png")
    (tmp_path / "0.png").write_bytes(b"nothing")
    (tmp_path / "more").mkdir()
    (tmp_path / "notes.doc").touch()
    source = Photos(folder=tmp_path)
    assert [len(source.samples(split).photos) for split in ("train", "val")] == [4, 1]
    assert [line.removeprefix(f"{tmp_path}: ").split(", the first")[0] for line in caplog.messages] == [
        "2 left aside: 1 folder(s) (more), 1 file(s) with the suffix .doc (notes.doc)",
        "1 file(s) skipped: 0.png",
        "grey turned to colour in 1 image(s) (5.png)",
    ]
