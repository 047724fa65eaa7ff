"""What is cached is what would be encoded: images as they are, and mirrored ones."""

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.loader import slot_loader
from mmgen.data.sources import CachedTokens
from mmgen.data.tokenize import write_shards
from mmgen.modalities.image.sources.image_folder import ImageFolder
from tests.data_modules import data_module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ImageFolder.make_fake(tmp_path_factory.mktemp("fake"), 30)


def test_cached_mirror_images_are_those_that_training_flips_to(folder, tmp_path, means):
    grey = {"image_size": 28, "channels": 1, "augment": "flip"} | folder
    source = ImageFolder(**grey)
    write_shards(tmp_path / "tokens", source, means, tmp_path / "none", shard_size=7, batch=3, mirror=True)
    cached = data_module(CachedTokens, str(tmp_path / "tokens")).samples("train")
    samples, index = source.samples("train"), torch.arange(24)
    both = cached.take(torch.arange(48))
    assert both["sample"][24:].equal(-1 - both["sample"][:24])
    assert both["label"][24:].equal(both["label"][:24])
    assert len(data_module(CachedTokens, str(tmp_path / "tokens")).samples("val")) == 6  # not mirrored
    flipped = torch.zeros(24, dtype=torch.bool)
    for epoch in range(3):
        seen = samples.augmented(index, torch.full_like(index, epoch), seed=1)["x"]
        now = (seen != samples.take(index)["x"]).flatten(1).any(1)
        assert means.encode(seen).values.equal(both["values"][torch.where(now, index + 24, index)].long())
        flipped |= now
    assert 0.5 < flipped.double().mean() < 1


def test_a_mistake_stays_one_line_on_its_way_out_of_a_worker(folder):
    source = ImageFolder(image_size=28, **folder)
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
