import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.modalities.image.evaluation.npz import read_npz, read_reference, write_npz


def pixels(channels: int, count: int = 6) -> Tensor:
    return (Draws(0, torch.arange(count)).uniform("x", channels, 5, 4) * 256).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_and_classes_come_back(channels: int, tmp_path: Path) -> None:
    written, labels = pixels(channels), torch.arange(6) % 3
    file = write_npz(tmp_path / "samples.npz", written, labels)
    images = read_npz(file, (channels, 5, 4))
    assert torch.equal(images.values, written)
    assert torch.equal(images.labels, labels)
    x = images.take(torch.arange(6))["x"]
    assert torch.equal(((x + 1) * 127.5).round().to(torch.uint8), written)


def test_the_file_is_as_adm_s_evaluator_takes_it(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "samples.npz", pixels(1), torch.arange(6))
    with np.load(file) as arrays:
        assert sorted(arrays) == ["arr_0", "arr_1"]
        assert arrays["arr_0"].shape == (6, 5, 4, 3)
        assert arrays["arr_0"].dtype == np.uint8
        assert arrays["arr_1"].dtype == np.int64
    unlabelled = write_npz(tmp_path / "unlabelled.npz", pixels(3), torch.full((6,), -1))
    with np.load(unlabelled) as arrays:
        assert sorted(arrays) == ["arr_0"]
    assert read_npz(unlabelled).labels.tolist() == [-1] * 6


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "there.npz").write_text("work")
    with pytest.raises(UserError, match="nothing is overwritten"):
        write_npz(tmp_path / "there.npz", pixels(3))
    assert (tmp_path / "there.npz").read_text() == "work"
    with pytest.raises(UserError, match="cannot be written"):
        write_npz(tmp_path / "nowhere" / "new.npz", pixels(3))


@pytest.mark.parametrize(
    ("arrays", "shape", "message"),
    [
        (None, None, "does not exist"),
        ("text", None, "no readable .npz"),
        ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, None, "has no array arr_0, only images"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.float32)}, None, "must be images, uint8"),
        ({"arr_0": np.zeros((2, 3, 4), np.uint8)}, None, "must be images, uint8"),
        ({"arr_0": np.zeros((0, 4, 4, 3), np.uint8)}, None, "must be images, uint8"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.zeros(3, np.int64)}, None, "must be 2 classes"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.zeros(2)}, None, "must be 2 classes"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8)}, (3, 8, 8), r"\(3, 4, 4\), and \(3, 8, 8\) is needed"),
        ({"arr_0": np.eye(4, dtype=np.uint8).reshape(1, 4, 4, 1).repeat(3, 3) * [1, 2, 3]}, (1, 4, 4), "uint8"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.array([0, 2**40])}, None, "classes, 0 to"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.array([0, -1])}, None, "and is -1 to 0"),
        ({"arr_0": np.array([None])}, None, "no readable .npz"),
    ],
)
def test_other_files_end_in_one_line(
    arrays: dict[str, np.ndarray] | str | None, shape: tuple[int, ...] | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "file.npz"
    if isinstance(arrays, str):
        file.write_text(arrays)
    elif arrays is not None:
        np.savez(file, **arrays)
    with pytest.raises(UserError, match=message) as caught:
        read_npz(file, shape)
    assert "\n" not in str(caught.value)


def test_colour_is_not_taken_for_grey(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "colour.npz", pixels(3))
    with pytest.raises(UserError, match=r"\(3, 5, 4\), and \(1, 5, 4\) is needed"):
        read_npz(file, (1, 5, 4))


def test_a_reference_is_known_by_its_pixels_alone(tmp_path: Path) -> None:
    first = read_reference(write_npz(tmp_path / "a.npz", pixels(3), torch.arange(6)))
    list(first.batches(4))
    second = read_reference(write_npz(tmp_path / "b.npz", pixels(3)))
    assert first.hash == second.hash  # read in batches or at once, with classes or without
    with np.load(tmp_path / "a.npz") as arrays:
        assert first.hash == hashlib.sha256(arrays["arr_0"].tobytes()).hexdigest()[:16]
    changed = pixels(3)
    changed[3, 1, 2, 2] ^= 1
    assert read_reference(write_npz(tmp_path / "c.npz", changed)).hash != first.hash
    assert first.about() == {"data": "a.npz", "count": 6, "sha256": first.hash}
    assert (first.classes, second.classes) == (6, 0)
