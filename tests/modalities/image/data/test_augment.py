"""Augmentation is keyed by seed, epoch and sample, and by nothing else; what is cached is what would be encoded."""

from itertools import islice

import lightning as L
import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.loader import slot_loader
from mmgen.data.sources import CachedTokens
from mmgen.data.stream import RankBatches, Split, Stream
from mmgen.data.tokenize import write_shards
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.image.sources.photos import Photos
from tests.data.training import QUIET
from tests.data_modules import data_module

SIZE = 28
KINDS = ["photos", "crop", "flip"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("fakes")
    return Photos.make_fake(where / "photos", 30), ImageFolder.make_fake(where / "folder", 30)


@pytest.fixture(params=KINDS)
def source(request, folders):
    photos, folder = folders
    if request.param == "photos":
        return Photos(SIZE, **photos)
    return ImageFolder(image_size=SIZE, augment=request.param, **folder)


def trained_on(samples, split=Split(6), seed=4, workers=0, steps=10):  # noqa: B008 (frozen)
    """(sample, epoch) -> image, over all processes of a run of `steps` optimiser steps."""
    seen = {}
    for rank in range(split.ranks):
        batches = RankBatches(Stream(len(samples), seed), split, rank, lambda: 0)
        loader = slot_loader(samples, workers, batches=batches, seed=seed)
        for batch in islice(loader, steps * split.accumulate):
            for sample, epoch, x in zip(batch["sample"].tolist(), batch["epoch"].tolist(), batch["x"], strict=True):
                seen[sample, epoch] = x
    return seen


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(one[key].equal(other[key]) for key in one)


def test_neither_batches_nor_processes_change_an_image(source):
    whole = trained_on(source.samples("train"))
    assert len(whole) == 60
    for split in (Split(6, 2), Split(6, 1, 3), Split(6, 3, 2)):
        assert_same(trained_on(source.samples("train"), split), whole)


def test_workers_change_no_image(source):
    samples = source.samples("train")
    assert_same(trained_on(samples, workers=2, steps=6), trained_on(samples, steps=6))


def test_epochs_and_seeds_differ(source):
    samples = source.samples("train")
    index = torch.arange(len(samples))
    views = [
        samples.augmented(index, torch.full_like(index, epoch), seed)["x"]
        for seed, epoch in ((4, 0), (4, 1), (4, 2), (5, 0))
    ]
    for number, view in enumerate(views):
        for other in views[:number]:
            assert (view != other).flatten(1).any(1).double().mean() > 0.25  # a flip differs for half the samples


def test_validation_is_never_augmented(folders):
    photos, folder = folders
    for data in (data_module(Photos, SIZE, **photos), data_module(ImageFolder, image_size=SIZE, **folder)):
        val = data.samples("val")
        index = torch.arange(len(val))
        as_they_are = val.take(index)["x"]
        assert val.augmented(index, index + 3, 9)["x"].equal(as_they_are)
        module = Keeper()
        L.Trainer(**QUIET).validate(module, data, verbose=False)
        assert torch.cat([batch["x"] for batch in module.kept]).equal(as_they_are)


class Keeper(L.LightningModule):
    """Keeps what it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight, self.kept = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, batch, index):
        self.kept.append(batch)
        return self.weight * 1.0

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data):
    module = Keeper()
    L.Trainer(max_steps=7, limit_val_batches=0, **QUIET).fit(module, data)
    return module.kept


def test_cached_tokens_equal_those_encoded_on_the_way(folders, tmp_path, means, monkeypatch):
    grey = {"image_size": SIZE, "channels": 1} | folders[1]
    write_shards(tmp_path / "tokens", ImageFolder(**grey), means, tmp_path / "none")
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: means)
    encoded = fit(data_module(ImageFolder, augment="none", global_batch_size=8, seed=3, tokenizer="x", **grey))
    cached = fit(data_module(CachedTokens, str(tmp_path / "tokens"), global_batch_size=8, seed=3))
    assert len(encoded) == 7
    for one, other in zip(encoded, cached, strict=True):
        assert one["tokens"].values.equal(other["tokens"].values)
        assert all(one[name].equal(other[name]) for name in ("label", "sample", "epoch"))


def test_cached_mirror_images_are_those_that_training_flips_to(folders, tmp_path, means):
    grey = {"image_size": SIZE, "channels": 1, "augment": "flip"} | folders[1]
    source = ImageFolder(**grey)
    write_shards(tmp_path / "tokens", source, means, tmp_path / "none", shard_size=7, batch=3, mirror=True)
    cached = data_module(CachedTokens, str(tmp_path / "tokens")).samples("train")
    train, index = source.samples("train"), torch.arange(24)
    both = cached.take(torch.arange(48))
    assert both["sample"][24:].equal(-1 - both["sample"][:24])
    assert both["label"][24:].equal(both["label"][:24])
    assert len(data_module(CachedTokens, str(tmp_path / "tokens")).samples("val")) == 6  # not mirrored
    flipped = torch.zeros(24, dtype=torch.bool)
    for epoch in range(3):
        seen = train.augmented(index, torch.full_like(index, epoch), seed=1)["x"]
        now = (seen != train.take(index)["x"]).flatten(1).any(1)
        assert means.encode(seen).values.equal(both["values"][torch.where(now, index + 24, index)].long())
        flipped |= now
    assert 0.5 < flipped.double().mean() < 1


def test_a_mistake_stays_one_line_on_its_way_out_of_a_worker(folders):
    source = ImageFolder(image_size=SIZE, **folders[1])
    val = source.samples("val")
    path = val.listing.root / val.listing.names[0].decode()
    content = path.read_bytes()
    path.write_bytes(b"gone")
    try:
        with pytest.raises(UserError) as caught:
            list(slot_loader(val, 1, batches=[[(0, 0)]]))
    finally:
        path.write_bytes(content)
    assert str(caught.value) == f"{path} is not an image, or of a format that Pillow does not read"
