"""Tokens on disk equal tokens made on the way; a folder of them is whole, or refused."""

import json

import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.data.build import build_source, open_source
from mmgen.data.sources import CachedTokens
from mmgen.data.tokenize import write_shards
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.store.store import load_tokenizer
from mmgen.tokenizers.quantizers import BSQ
from tests.data.training import train
from tests.data_modules import data_module, data_section
from tests.tiny_runs import TOKENIZER, prefixed, scramble, write_run


@pytest.fixture
def source(tmp_path):
    return Digits(**Digits.make_fake(tmp_path / "digits", samples=47))


@pytest.fixture
def written(tmp_path, source, means):
    """A folder of several shards, none a whole number of batches."""
    write_shards(tmp_path / "tokens", source, means, tmp_path / "runs" / "means", shard_size=13, batch=5)
    return tmp_path / "tokens"


def test_cached_equals_encoded(written, source, means, monkeypatch):
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: means)
    often = {"val_check_interval": 11, "check_val_every_n_epoch": None, "limit_val_batches": None}
    encoded = train(data_module(Digits, global_batch_size=8, seed=5, tokenizer="x", folder=source.folder), 11, **often)

    def absent(path):
        raise AssertionError("training on cached tokens loads no tokenizer")

    monkeypatch.setattr("mmgen.data.base.load_tokenizer", absent)
    cached = train(data_module(CachedTokens, str(written), global_batch_size=8, seed=5), 11, **often)
    assert (len(cached.batches), len(cached.validated)) == (11, 2 + 2)  # before training, after it
    pairs = zip(cached.batches + cached.validated, encoded.batches + encoded.validated, strict=True)
    for batch, expected in pairs:
        assert batch["tokens"].values.dtype == torch.int64
        assert batch["tokens"].values.equal(expected["tokens"].values)
        assert batch["tokens"].grid == expected["tokens"].grid
        assert all(batch[name].equal(expected[name]) for name in ("label", "sample", "epoch"))


def test_meta_says_what_was_written(written, tmp_path):
    meta = json.loads((written / "meta.json").read_text())
    assert meta["counts"] == {"train": 37, "val": 10}
    assert [(s["split"], s["count"]) for s in meta["shards"]] == [*[("train", n) for n in (13, 13, 11)], ("val", 10)]
    assert sorted(p.name for p in written.iterdir()) == ["meta.json", *sorted(s["file"] for s in meta["shards"])]
    assert meta["facts"]["tokenizer_path"] == "../runs/means"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert CachedTokens(written).samples("val")[3]["values"].dtype == torch.uint8


def test_a_data_module_knows_all_before_setup_and_loads_the_tokenizer_when_asked(written, means, monkeypatch):
    data = data_module(CachedTokens, str(written))
    assert (data.spec, data.source.classes, data.source.sample_shape) == (means.spec, 10, (1, 28, 28))
    assert data.tokenizer is None  # its folder is not there
    (written.parent / "runs" / "means").mkdir(parents=True)
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: means)
    assert data.tokenizer is means
    means.shift += 1
    with pytest.raises(UserError, match="has changed since it made the tokens"):
        data_module(CachedTokens, str(written)).tokenizer  # noqa: B018


def test_mirror_images_are_those_that_training_flips_to(tmp_path, means):
    source = ImageFolder(image_size=28, channels=1, augment="flip", **ImageFolder.make_fake(tmp_path / "images", 30))
    write_shards(tmp_path / "tokens", source, means, "x", shard_size=7, batch=3, mirror=True)
    cached, samples, index = CachedTokens(tmp_path / "tokens"), source.samples("train"), torch.arange(24)
    both = cached.samples("train").take(torch.arange(48))
    assert both["sample"][24:].equal(-1 - both["sample"][:24]) and both["label"][24:].equal(both["label"][:24])
    assert len(cached.samples("val")) == 6  # not mirrored
    flipped = torch.zeros(24, dtype=torch.bool)
    for epoch in range(3):
        seen = samples.augmented(index, torch.full_like(index, epoch), seed=1)["x"]
        now = (seen != samples.take(index)["x"]).flatten(1).any(1)
        assert means.encode(seen).values.equal(both["values"][torch.where(now, index + 24, index)].long())
        flipped |= now
    assert 0.5 < flipped.double().mean() < 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_shard_is_refused(written, damage):
    shard = written / "train-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    {
        "truncate": lambda: shard.write_bytes(content[:-1]),
        "flip": lambda: shard.write_bytes(content),
        "remove": shard.unlink,
    }[damage]()
    source = CachedTokens(written)
    assert len(source.samples("val")) == 10
    with pytest.raises(UserError, match=r"train-00001.safetensors .*: run mmgen tokenize again"):
        source.samples("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no meta.json"),
        ("", "is damaged"),
        ('{"format": 1, "facts": {', "is damaged"),
        ('{"format": 1}', "is damaged .*facts"),
        ('{"format": 99}', "has format 99"),
        ("[]", "is damaged"),
    ],
)
def test_a_missing_or_damaged_meta_is_refused(written, text, message):
    (written / "meta.json").unlink()
    if text is not None:
        (written / "meta.json").write_text(text)
    with pytest.raises(UserError, match=message):
        data_module(CachedTokens, str(written))


def test_nothing_is_written_over(written, source, means):
    before = {path: path.read_bytes() for path in written.iterdir()}
    with pytest.raises(UserError, match="not empty"):
        write_shards(written, source, means, "x")
    assert {path: path.read_bytes() for path in written.iterdir()} == before


def test_an_interrupted_writing_leaves_nothing(tmp_path, source, means):
    def interrupt(done):
        if done > 20:
            raise KeyboardInterrupt

    out = tmp_path / "tokens"
    with pytest.raises(KeyboardInterrupt):
        write_shards(out, source, means, "x", shard_size=8, batch=4, progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits"]
    out.mkdir()
    progress = []
    write_shards(out, source, means, "x", shard_size=13, batch=5, progress=progress.append)  # into an empty folder
    assert len(CachedTokens(out).samples("train")) == 37
    assert progress == sorted(progress) and progress[-1] == 47


@pytest.mark.parametrize(
    "spec",
    [
        TokenSpec("categorical", 256, (1, 2, 2)),
        TokenSpec("categorical", 257, (1, 2, 2)),
        TokenSpec("bits", 16, (1, 2, 2)),
        TokenSpec("bits", 40, (1, 2, 2)),
        TokenSpec("residual", 32768, (4, 1, 1), levels=3),
        TokenSpec("continuous", 5, (1, 2, 2)),
    ],
    ids=str,
)
def test_fakes_of_every_kind_survive_the_disk(tmp_path, spec):
    source = CachedTokens(**CachedTokens.make_fake(tmp_path / "fake", samples=400, spec=spec))
    assert source.spec == spec
    values = torch.cat(
        [source.samples(split).take(torch.arange(n))["values"] for split, n in (("train", 320), ("val", 80))]
    )
    tail = {"residual": (spec.levels,), "continuous": (spec.size,)}.get(spec.kind, ())
    assert values.shape == (400, spec.length, *tail)
    if spec.kind != "continuous":
        alphabet = 2**spec.size if spec.kind == "bits" else spec.size
        assert 0 <= values.min() < 0.05 * alphabet
        assert 0.95 * alphabet < values.max().item() + 1 <= alphabet  # not cut to a narrower type


def test_the_source_of_a_run_is_rebuilt_from_its_config(written, source):
    digits = data_section("Digits", folder=str(source.folder), tokenizer="runs/x")
    cached = data_section("CachedTokens", path=str(written), global_batch_size=4)
    described = {"init_args": {"source": source.describe()}}
    for data in (digits, cached, described):
        built = build_source({"data": data, "model": {}})
        assert isinstance(built, Digits)  # the raw samples, of cached tokens too
        assert built.samples("val")[2]["x"].equal(source.samples("val")[2]["x"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no data.source"),
        ({"data": {"class_path": "mmgen.data.Digits"}}, "no data.source"),
        ({"data": data_section("mmgen.data.Digit")}, "did you mean 'Digits'"),
        ({"data": data_section("os.Digits")}, "no source os.Digits"),
        ({"data": data_section("CachedTokens")}, "path"),
        ({"data": data_section("Digits", image_size=3)}, "image_size"),
    ],
)
def test_a_config_without_usable_data_is_told(config, message):
    with pytest.raises(UserError, match=message):
        build_source(config)


def test_data_is_named_by_name_file_or_run(tmp_path, source):
    config = {"data": data_section("Digits", folder=str(source.folder))}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for text in (str(tmp_path), str(tmp_path / "config.yaml")):
        assert open_source(text).folder == source.folder
    assert open_source("digits").folder is None
    with pytest.raises(UserError, match=r"no data 'digit'.*did you mean 'digits'"):
        open_source("digit")
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot be read"):
        open_source(str(tmp_path))


def test_a_shard_that_is_named_twice_is_refused(written):
    """A list of a million names of one file would take the memory for a million."""
    meta = json.loads((written / "meta.json").read_text())
    (written / "meta.json").write_text(json.dumps(meta | {"shards": meta["shards"] * 2}))
    with pytest.raises(UserError, match=r"meta\.json is damaged .*it names a shard twice"):
        CachedTokens(written)


def test_the_command_writes_what_the_tokenizer_encodes(tmp_path, source, capsys):
    init_args = TOKENIZER["init_args"] | {"image_size": 28, "downsample": 4}
    tokenizer = scramble(ConvImageTokenizer(BSQ(4), image_size=28, channels=1, width=8, downsample=4))
    model = {
        "class_path": "mmgen.training.TokenizerModule",
        "init_args": {"tokenizer": TOKENIZER | {"init_args": init_args}},
    }
    config = {"model": model, "data": {"init_args": {"source": source.describe()}}}
    run = str(write_run(tmp_path / "runs" / "tok", config, prefixed("tokenizer", tokenizer)))
    out = tmp_path / "tokens"
    arguments = ["tokenize", run, "--out", str(out), "--batch", "16", "--device", "cpu"]
    assert main(arguments) == 0
    assert "37 train, 10 val" in capsys.readouterr().out
    data = data_module(CachedTokens, str(out))
    expected = load_tokenizer(run).encode(source.samples("val").take(torch.arange(10))["x"]).values
    assert data.samples("val").take(torch.arange(10))["values"].long().equal(expected)
    assert expected.unique().numel() > 1
    assert data.tokenizer.spec == tokenizer.spec
    before = sorted(out.iterdir())
    for bad, message in (
        (arguments, "is not empty"),
        ([*arguments[:3], str(tmp_path / "new"), "--data", "digit"], "did you mean 'digits'"),
        (["tokenize", str(tmp_path / "none"), "--out", str(tmp_path / "new")], "does not exist"),
        (["tokenize", run], "out"),
        ([*arguments[:3], str(tmp_path / "new"), "--batch", "0"], "at least 1"),
    ):
        assert main(bad) == 2
        assert message in capsys.readouterr().err
    assert sorted(out.iterdir()) == before
    assert not (tmp_path / "new").exists()
