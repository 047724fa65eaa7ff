"""Aspect-ratio buckets: the nearest shape, the area it really crops, and training on one of them."""

import math

import pytest
import torch
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.modalities.image.sources.buckets import Buckets
from mmgen.modalities.image.sources.image_folder import ImageFolder
from tests.data.training import train
from tests.data_modules import data_module

SHAPES = [(16, 16), (12, 20), (20, 12)]
BUCKETS = Buckets(tuple(SHAPES))
SIZES = torch.tensor([[100, 100], [300, 500], [50, 30], [10, 1000], [1000, 10], [77, 90], [90, 77], [12, 16]])


def test_each_image_goes_to_the_shape_that_cuts_the_least():
    """The nearest by logarithm of the aspect ratio is the one under which most of the image stays."""
    left = torch.tensor([[kept(size, shape) for shape in SHAPES] for size in SIZES.tolist()])
    assert BUCKETS.assign(SIZES).equal(left.argmax(1))
    torch.testing.assert_close(BUCKETS.cropped(SIZES), 1 - left.amax(1))
    assert BUCKETS.cropped(torch.tensor(SHAPES)).abs().max() < 1e-12


def kept(size, shape):
    """By its definition: scale until the shape is covered, and compare the areas."""
    scale = max(shape[0] / size[0], shape[1] / size[1])
    return torch.tensor(math.prod(shape) / (scale * size[0] * scale * size[1]), dtype=torch.float64)


def test_turning_images_and_buckets_on_their_side_turns_the_answer():
    sideways = Buckets(tuple((width, height) for height, width in SHAPES))
    assert sideways.assign(SIZES.flip(1)).equal(BUCKETS.assign(SIZES))
    torch.testing.assert_close(sideways.cropped(SIZES.flip(1)), BUCKETS.cropped(SIZES))


def test_an_image_between_two_shapes_goes_to_the_first():
    assert Buckets(((2, 8), (8, 2))).assign(torch.tensor([[5, 5]])).tolist() == [0]
    assert Buckets(((8, 2), (2, 8))).assign(torch.tensor([[5, 5]])).tolist() == [0]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((), "must be a list of"),
        (((16, 0),), "must be a list of"),
        (((16, 16, 3),), "must be a list of"),
        (((16, 16), (12, 30)), "areas from 256 to 360 pixels; keep them within 25%"),
        (((16, 16), (15, 15)), "same aspect ratio"),
    ],
)
def test_shapes_that_make_no_buckets_are_refused(shapes, message):
    with pytest.raises(UserError, match=message):
        Buckets(shapes)


@pytest.fixture
def root(tmp_path):
    """Three wide images of each split, two square ones, no tall one; widths tell them apart."""
    for split in ("train", "val"):
        folder = tmp_path / split / "all"
        folder.mkdir(parents=True)
        for number, size in enumerate([(50, 30), (40, 40), (60, 30), (41, 40), (52, 30)]):
            Image.new("RGB", size, (number * 50, 0, 0)).save(folder / f"{number}.png")
    return tmp_path


def cells(table):
    return [list(column.cells) for column in table.columns]


def test_a_source_holds_the_images_of_one_bucket_and_reports_all(root):
    source = ImageFolder(root, image_size=(12, 20), buckets=SHAPES)
    assert source.sample_shape == (3, 12, 20)
    for split in ("train", "val"):
        batch = source.samples(split).take(torch.arange(3))
        assert len(source.samples(split)) == 3
        assert ((batch["x"][:, 0, 0, 0] + 1) * 127.5).round().tolist() == [0, 100, 200]
    shapes, images, share, mean, worst = cells(source.report())
    assert shapes == ["16 x 16", "12 x 20 (trained on)", "20 x 12"]
    assert images == ["4", "6", "0"]
    assert share == ["40.0%", "60.0%", "0.0%"]
    # 60 x 30 keeps 50 of its columns, 52 x 30 also 50; 41 x 40 keeps 40.
    assert mean == [f"{(0 + 1 / 41) / 2:.1%}", f"{(0 + 10 / 60 + 2 / 52) / 3:.1%}", "-"]
    assert worst == [f"{1 / 41:.1%}", f"{10 / 60:.1%}", "-"]


def test_the_report_is_printed_before_training(root, capsys):
    data = data_module(ImageFolder, str(root), image_size=16, buckets=SHAPES, global_batch_size=2)
    train(data, 1)
    printed = capsys.readouterr().out
    assert "10 images in 3 buckets" in printed
    assert "16 x 16 (trained on)" in printed
    assert data.source.samples("train").listing.numbers.tolist() == [1, 3]


def test_buckets_that_cannot_be_trained_on_are_refused(root):
    with pytest.raises(UserError, match=r"no images of the bucket \[20, 12\] for the train split"):
        ImageFolder(root, image_size=(20, 12), buckets=SHAPES).samples("train")
    with pytest.raises(UserError, match=r"must hold data.source.image_size"):
        ImageFolder(root, image_size=17, buckets=SHAPES)
    with pytest.raises(UserError, match=r"needs data.source.check"):
        ImageFolder(root, image_size=16, buckets=SHAPES, check=False)
