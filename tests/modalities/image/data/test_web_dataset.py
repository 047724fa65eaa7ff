"""Images in .tar shards: lossless there and back, in an order that workers and ranks do not change, damage named."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import lightning as L
import pytest
import torch
import webdataset

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.data.stream import ShardStream
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.image.sources.tar_index import INDEX
from mmgen.modalities.image.sources.web_dataset import WebDataset
from tests.data.test_resume import Fitted, slots
from tests.data.training import QUIET, SaveAfter
from tests.data_modules import data_module

STEPS, GLOBAL = 10, 12


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return Digits(folder=Digits.make_fake(tmp_path_factory.mktemp("fake"), samples=100)["folder"])


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """80 samples to train on in 12 shards, 20 held out in 3."""
    out = tmp_path_factory.mktemp("shards")
    recipe = out / "data.yaml"
    recipe.write_text(json.dumps({"data": {"init_args": {"source": digits.describe()}}}))
    assert main(["shards", str(recipe), "--out", str(out / "digits"), "--per_shard", "7"]) == 0
    return out / "digits"


def grey(root: Path, **options: object) -> WebDataset:
    return WebDataset(root, image_size=28, channels=1, **options)  # type: ignore[arg-type]


def test_there_and_back_without_loss(shards: Path, digits: Digits) -> None:
    assert len(list(shards.glob("train/*.tar"))) == 12
    source = grey(shards)
    assert source.class_names == digits.class_names
    for split in ("train", "val"):
        ours, theirs = (each.samples(split).take(torch.arange(20)) for each in (source, digits))  # type: ignore[arg-type]
        assert torch.equal(ours["x"], theirs["x"])
        assert torch.equal(ours["label"], theirs["label"])
    numbers = [source.samples(split).take(torch.arange(20))["sample"] for split in ("train", "val")]  # type: ignore[arg-type]
    assert not set(numbers[0].tolist()) & set(numbers[1].tolist())


def test_webdataset_itself_reads_them(shards: Path, digits: Digits) -> None:
    urls = [str(path) for path in sorted(shards.glob("train/*.tar"))]
    read = list(webdataset.WebDataset(urls, shardshuffle=False))
    labels = digits.samples("train").take(torch.arange(80))["label"].tolist()
    assert [int(each["cls"]) for each in read] == labels
    assert [each["__key__"] for each in read] == [f"{number:09d}" for number in range(80)]


def test_the_index_is_kept_and_follows_the_shards(shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    shutil.copytree(shards / "val", folder)
    first = grey(folder, held_out=2)
    assert (folder / INDEX).is_file()
    again = grey(folder, held_out=2)
    assert torch.equal(
        first.samples("train").take(torch.arange(5))["x"], again.samples("train").take(torch.arange(5))["x"]
    )
    (folder / "000000.tar").unlink()
    assert len(grey(folder, held_out=2).samples("train")) + len(grey(folder, held_out=2).samples("val")) == 20 - 7


def tar(path: Path, **files: bytes) -> Path:
    """A shard with these files, `__` in a name standing for a dot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path


def png(shards: Path) -> bytes:
    with tarfile.open(next(shards.glob("val/*.tar"))) as opened:
        file = opened.extractfile("000000000.png")
        assert file is not None
        return file.read()


def test_labels_in_json_and_files_that_are_none_of_ours(shards: Path, tmp_path: Path) -> None:
    image = png(shards)
    files = {
        "a__json": b'{"label": 1, "caption": "x"}',
        "a__txt": b"x",
        "a__PNG": image,
        "b__png": image,
        "b__json": b'{"cls": 0}',
    }
    tar(tmp_path / "x.tar", **files)
    source = grey(tmp_path, held_out=2)
    assert source.class_names == ["0", "1"]
    assert [int(source.samples(split).take(torch.tensor([0]))["label"]) for split in ("val", "train")] == [1, 0]  # type: ignore[arg-type]


# Damage.


def test_a_truncated_shard_is_refused_by_name_or_left_out(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(shards / "val", folder)
    broken = folder / "000001.tar"
    data = broken.read_bytes()
    for keep in (700, 1024, len(data) // 2, len(data) - 10240):
        broken.write_bytes(data[:keep])
        with pytest.raises(UserError, match=r"shard .*000001\.tar is truncated or damaged"):
            grey(folder)
    source = grey(folder, held_out=2, bad_shards="skip")
    assert "000001.tar" in caplog.text
    assert len(source.samples("train")) + len(source.samples("val")) == 20 - 7


def test_a_damaged_image_is_named_and_replaced(shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = png(shards)
    tar(tmp_path / "x.tar", a__png=image, b__png=image[:-40], c__png=image)
    samples = grey(tmp_path, held_out=3).samples("train")
    with pytest.raises(UserError, match=r"b\.png in .*x\.tar is a damaged image"):
        samples.take(torch.tensor([0]))
    batch = samples.augmented(torch.tensor([0, 1]), torch.tensor([0, 0]), seed=0)
    assert batch["sample"].tolist() == [2, 2]
    assert "b.png" in caplog.text


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a__png": b"x", "a__cls": b"seven"}, "a.cls"),
        ({"a__png": b"x", "a__cls": b"1", "b__png": b"x"}, "1 of 2 samples have no label"),
        ({"a__txt": b"x"}, "hold no images"),
    ],
)
def test_shards_that_say_nothing_useful(files: dict[str, bytes], told: str, tmp_path: Path) -> None:
    tar(tmp_path / "x.tar", **files)
    with pytest.raises(UserError, match=told.replace(".", r"\.")):
        grey(tmp_path)


def test_folders_without_shards(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        grey(tmp_path / "nowhere")
    (tmp_path / "x.tar.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"unpack x\.tar\.gz"):
        grey(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="none named val"):
        grey(tmp_path)
    (tmp_path / "names.txt").write_text("zero\n")
    with pytest.raises(UserError, match="names 1 classes"):
        grey(shards, names=tmp_path / "names.txt")


# The order.


def test_an_epoch_is_a_permutation_that_goes_from_shard_to_shard() -> None:
    counts = (7, 1, 12, 5, 9, 3, 4)
    owner = torch.arange(7).repeat_interleave(torch.tensor(counts))
    for window in (1, 2, 3, 7, 100):
        stream = ShardStream(41, 3, counts, window)
        orders = [stream.order(epoch) for epoch in range(4)]
        assert all(torch.equal(each.sort()[0], torch.arange(41)) for each in orders)
        assert torch.equal(orders[1], ShardStream(41, 3, counts, window).order(1))
        assert not torch.equal(orders[0], orders[1])
        for order in orders:
            seen = owner[order].tolist()
            spans = [(seen.index(shard), 41 - seen[::-1].index(shard)) for shard in range(7)]
            open_at_once = max(sum(a <= place < b for a, b in spans) for place in range(41))
            assert open_at_once <= window
    assert not torch.equal(ShardStream(41, 3, counts, 2).order(0), ShardStream(41, 3, counts, 3).order(0))


def fit(
    root: Path,
    module: Fitted,
    callbacks: tuple = (),
    ckpt_path: Path | None = None,
    workers: int = 0,
    window: int = 3,
) -> L.Trainer:
    data = data_module(WebDataset, str(root), 28, 1, window=window, global_batch_size=GLOBAL, num_workers=workers)
    trainer = L.Trainer(callbacks=list(callbacks), max_steps=STEPS, limit_val_batches=0, **QUIET)
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def test_resumed_within_an_epoch_by_any_number_of_workers(shards: Path, tmp_path: Path) -> None:
    whole, resumed = Fitted(), Fitted()
    fit(shards, whole, (SaveAfter(4, tmp_path / "here.ckpt"),), workers=2)
    fit(shards, resumed, ckpt_path=tmp_path / "here.ckpt", workers=0)
    assert slots(resumed.seen) == slots(whole.seen)[4 * GLOBAL :]
    assert resumed.layer.weight.equal(whole.layer.weight)  # the same images, cut at random in the same way
    with pytest.raises(UserError, match=r"data\.source\.window 3"):
        fit(shards, Fitted(), ckpt_path=tmp_path / "here.ckpt", window=4)
