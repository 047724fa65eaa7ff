"""What holds for every source: its samples follow from their number, epoch and seed, and its description leads back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data import DataModule
from mmgen.data.build import make_source, source_kinds
from mmgen.data.loader import slot_loader
from mmgen.data.sources import CachedTokens, Source
from mmgen.data.tokenize import write_shards
from mmgen.store.store import weights_hash
from mmgen.tokenizers import Reconstruction, Tokenizer

KINDS = {name: kind for name, kind in sorted(source_kinds().items()) if kind.__module__.startswith("mmgen.")}
SMALL: dict[str, dict[str, Any]] = {
    "Atari": {"frames": 4, "size": 16},
    "Emoji": {"image_size": 8},
    "ImageFolder": {"image_size": 16, "augment": "crop"},
    "Photos": {"image_size": 16},
    "VideoFolder": {"frames": 4, "size": 8, "fps": 5.0},
    "WebDataset": {"image_size": 16, "augment": "flip"},
}


@pytest.fixture(scope="module", params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    kind: Any = KINDS[request.param]
    try:
        made = kind(**kind.make_fake(tmp_path_factory.mktemp("fake") / "data") | SMALL.get(request.param, {}))
        made.samples("val")
    except UserError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    return made


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]


def rows(batch: dict[str, Any], index: list[int]) -> dict[str, Any]:
    return {
        name: value[index] if isinstance(value, torch.Tensor) else [value[row] for row in index]
        for name, value in batch.items()
    }


def test_what_describes_a_source_leads_back_to_it(source: Source) -> None:
    again = make_source(json.loads(json.dumps(source.describe())))
    assert again.describe() == source.describe()
    assert again.facts == source.facts == Facts.from_dict(json.loads(json.dumps(source.facts.to_dict())))
    index = torch.arange(2)
    assert_same(again.samples("val").take(index), source.samples("val").take(index))


def test_an_unknown_split_is_named(source: Source) -> None:
    with pytest.raises(UserError, match="no split 'test': take 'train' or 'val'"):
        source.samples("test")  # type: ignore[arg-type]


def test_numbers_and_values_are_what_a_batch_promises(source: Source) -> None:
    numbers = []
    for split in ("train", "val"):
        samples = source.samples(split)  # type: ignore[arg-type]
        batch = samples.take(torch.arange(len(samples)))
        numbers.append(batch["sample"])
        assert (batch["label"].dtype, batch["sample"].dtype) == (torch.int64, torch.int64)
        assert ((batch["label"] >= -1) & (batch["label"] < max(1, source.classes))).all()
        if source.spec is None:
            assert batch["x"].shape[1:] == source.sample_shape and batch["x"].dtype == torch.float32
            assert batch["x"].isfinite().all() and (not source.bounded or batch["x"].abs().max() <= 1)
        item = samples[len(samples) - 1]
        assert_same({name: value[-1] for name, value in batch.items()}, item)
    assert torch.cat(numbers).unique().numel() == sum(map(len, numbers))


def test_a_training_sample_follows_from_its_number_epoch_and_seed(source: Source) -> None:
    """Neither other samples of the batch nor workers change it."""
    samples = source.samples("train")
    index, epoch = torch.tensor([2, 0, 1, 2]), torch.tensor([3, 1, 3, 0])
    together = samples.augmented(index, epoch, 7)
    for row in range(4):
        assert_same(samples.augmented(index[[row]], epoch[[row]], 7), rows(together, [row]))
    slots = list(zip(epoch.tolist(), index.tolist()))
    for size, workers in ((1, 0), (3, 1)):
        loaded = list(slot_loader(samples, workers, slots=slots, size=size, seed=7))
        expected = together | {"epoch": epoch}
        for number, batch in enumerate(loaded):
            first = number * size
            assert_same(batch, rows(expected, list(range(first, min(first + size, 4)))))


def test_a_data_module_validates_on_samples_as_they_are(source: Source) -> None:
    data = DataModule(source, global_batch_size=2)
    batch = next(iter(data.val_dataloader()))
    assert_same(batch, source.samples("val").take(torch.arange(2)) | {"epoch": torch.zeros(2, dtype=torch.int64)})


class Means(Tokenizer):
    """The mean of an image, of each frame, or of each stretch of a sound or a motion, in 256 levels."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        shape = self.sample_shape = source.sample_shape
        self.fps, self.sample_rate = source.fps, source.sample_rate
        self.register_buffer("weight", torch.ones(()))
        modality = "speech" if source.sample_rate else ("", "motion", "", "video")[len(shape) - 1]
        self.stride = {"speech": 320, "motion": 4}.get(modality, 1)
        rate = (source.sample_rate or source.fps or 0) / self.stride or None
        frames = -(-shape[1] // self.stride) if modality else 1
        timed = {"modality": modality, "rate": rate, "stride": self.stride, "first": self.stride} if modality else {}
        self.spec = TokenSpec("categorical", 256, (frames, 1, 1), **timed)  # type: ignore[arg-type]

    def encode(self, x: Tensor) -> Tokens:
        rest = x.flatten(1)[:, None] if not self.spec.modality else x.transpose(1, 2).flatten(2)
        padded = torch.nn.functional.pad(rest, (0, 0, 0, -rest.shape[1] % self.stride))
        means = padded.unflatten(1, (-1, self.stride)).mean((2, 3)).clamp(-1, 1)
        return Tokens(((means + 1) * 127.5).round().long(), (means.shape[1], 1, 1))

    def decode(self, tokens: Tokens) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(x, self.encode(x), {})


def test_tokens_on_disk_are_those_encoded_on_the_way(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With labels, actions, lengths, texts and captions, and all that the source says of them."""
    if source.spec is not None:
        return
    tokenizer, out = Means(source), tmp_path / "tokens"
    write_shards(out, source, tokenizer, tmp_path / "means", shard_size=7, batch=5)
    cached = CachedTokens(out)
    own = {"tokenizer_path": cached.facts.tokenizer_path, "tokenizer_hash": weights_hash(tokenizer)}
    assert cached.facts == replace(source.facts, spec=tokenizer.spec, **own)  # type: ignore[arg-type]
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: tokenizer)
    for split in ("train", "val"):
        index = torch.arange(len(source.samples(split))).flip(0)  # type: ignore[arg-type]
        raw, stored = (each.samples(split).take(index) for each in (source, cached))  # type: ignore[arg-type]
        values = tokenizer.encode(raw.pop("x")).values.to(torch.uint8)
        assert_same(stored, raw | {"values": values})
    modules = DataModule(source, 4, tokenizer="means"), DataModule(cached, 4)
    encoded, kept = (each.on_after_batch_transfer(next(iter(each.val_dataloader())), 0) for each in modules)
    encoded.pop("x")
    one, other = encoded.pop("tokens"), kept.pop("tokens")
    assert_same(encoded, kept)
    assert one.values.equal(other.values) and one.grid == other.grid == tokenizer.spec.grid
    assert (one.lengths is None) == (other.lengths is None) == ("length" not in encoded)
    if one.lengths is not None:
        assert one.lengths.equal(other.lengths) and one.lengths.equal(-(-encoded["length"] // tokenizer.stride))


def test_a_tokenizer_of_other_samples_is_refused(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    if source.spec is not None:
        return
    tokenizer = Means(source)
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: tokenizer)
    shape = tokenizer.sample_shape
    tokenizer.sample_shape = (shape[0] + 1, *shape[1:])
    with pytest.raises(UserError, match=r"tokenizer runs/x takes samples of shape \(.*\), but the data has \("):
        DataModule(source, tokenizer="runs/x").spec  # noqa: B018
    tokenizer.sample_shape, tokenizer.sample_rate = shape, 24000
    with pytest.raises(UserError, match="takes sounds at 24000 Hz, but the data has s"):
        DataModule(source, tokenizer="runs/x").spec  # noqa: B018
