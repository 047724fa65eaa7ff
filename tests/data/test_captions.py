"""Captions stay with their images, whatever reads them; what is missing is counted, what is wrong is named by line."""

import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.core.vocabulary import FreeText
from mmgen.data.sources import CachedTokens, Samples, Source, to_device
from mmgen.data.sources.captions import Captions
from mmgen.data.tokenize import MirroredSamples, write_shards
from mmgen.evaluation.comparison import same_samples
from mmgen.evaluation.reference import Chosen, Reference
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.image.sources.tar_write import write_shards as write_tar
from mmgen.modalities.image.sources.web_dataset import WebDataset
from mmgen.modalities.video.sources.video_folder import VideoFolder
from mmgen.tokenizers import Reconstruction, Tokenizer
from tests.data.training import QUIET, Recorder, SaveAfter, slots_of
from tests.data_modules import data_module

COUNT, SIDE = 24, 4


def shades(root: Path, count: int = COUNT) -> Path:
    """Image number i is a square of grey 10 i, and every image but the first has two captions that say so."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(np.full((6, 5), 10 * number, np.uint8)).save(root / f"{number:03d}.png")
        if number:
            (root / f"{number:03d}.txt").write_text(f"shade {number}\n\n  the  shade {number} again \n")
    return root


def folder(root: Path) -> ImageFolder:
    return ImageFolder(root, SIDE, channels=1, augment="flip", held_out=4)


def numbers_of(batch: dict[str, Any]) -> list[int]:
    """Which image each is, by its shade."""
    x = batch["x"] if "x" in batch else (batch["tokens"].values if "tokens" in batch else batch["values"]) / 127.5 - 1
    return ((x.flatten(1).mean(1).float() + 1) * 12.75).round().long().tolist()


def assert_together(batch: dict[str, Any]) -> None:
    for number, caption in zip(numbers_of(batch), batch["caption"], strict=True):
        assert caption in ((f"shade {number}", f"the shade {number} again") if number else ("",))


class Shade(Tokenizer):
    """Each pixel is a token."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_shape, self.spec = (1, SIDE, SIDE), TokenSpec("categorical", 256, (1, SIDE, SIDE))

    def encode(self, x: Tensor) -> Tokens:
        return Tokens(((x + 1) * 127.5).round().long().flatten(1), (1, SIDE, SIDE))

    def decode(self, tokens: Tokens) -> Tensor:
        return tokens.values.view(-1, 1, SIDE, SIDE) / 127.5 - 1

    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(x, self.encode(x), {})


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """The same images as files, in shards of images, and as tokens."""
    root = tmp_path_factory.mktemp("captions")
    files = folder(shades(root / "files"))
    write_tar(files, root / "tar", per_shard=5)
    write_shards(root / "tokens", files, Shade(), root / "none", shard_size=7, batch=3, mirror=True)
    tar = WebDataset(root / "tar", SIDE, channels=1, augment="flip", window=2)
    return {"files": files, "tar": tar, "tokens": CachedTokens(root / "tokens")}


KINDS = ("files", "tar", "tokens")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_keeps_captions_with_its_samples(sources: dict[str, Source], kind: str) -> None:
    source = sources[kind]
    assert source.conditions["caption"] == FreeText(" 0123456789adeghinst", len("the shade 10 again"))
    assert Facts.from_dict(json.loads(json.dumps(source.facts.to_dict()))) == source.facts
    for split in ("train", "val"):
        samples = source.samples(split)  # type: ignore[arg-type]
        index, order = torch.arange(len(samples)), torch.randperm(len(samples), generator=torch.manual_seed(0))
        views: list[Samples] = [samples, Chosen(samples, order), Reference.held_out(source)]
        for view in [*views, MirroredSamples(samples)] if kind != "tokens" else views:
            first = view.take(torch.arange(len(view)))
            assert_together(first)
            assert view.captions is not None and view.captions.pick(torch.arange(len(view))) == first["caption"]
            assert not any("again" in caption for caption in first["caption"])
        assert same_samples(samples, samples) and not same_samples(samples, Chosen(samples, order))
        assert samples[1]["caption"] == samples.take(torch.tensor([1]))["caption"][0]
        assert to_device(samples.take(index), "cpu")["caption"] == samples.take(index)["caption"]
        drawn = [samples.augmented(index, torch.full_like(index, epoch), seed=0) for epoch in (0, 1, 0)]
        for batch in drawn:
            assert_together(batch)
        assert drawn[0]["caption"] == drawn[2]["caption"] != drawn[1]["caption"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("error:Trying to infer the `batch_size`")
def test_through_shuffling_workers_and_resuming(sources: dict[str, Source], kind: str, tmp_path: Path) -> None:
    def fit(workers: int, **options: Any) -> Recorder:
        module, source = Recorder(), sources[kind]
        data = data_module(type(source), **source.arguments, global_batch_size=5, num_workers=workers)
        callbacks = [SaveAfter(3, tmp_path / "here.ckpt")] if not options else []
        trainer = L.Trainer(max_steps=8, limit_val_batches=1, callbacks=callbacks, **QUIET)  # type: ignore[arg-type]
        trainer.fit(module, data, weights_only=True, **options)
        return module

    def captions(module: Recorder) -> list[tuple[tuple[int, int], str]]:
        for batch in module.batches + module.validated:
            assert_together(batch)
        return [pair for batch in module.batches for pair in zip(slots_of(batch), batch["caption"], strict=True)]

    whole, resumed = captions(fit(0)), captions(fit(1, ckpt_path=tmp_path / "here.ckpt"))
    assert len(whole) == 40 and resumed == whole[15:]


# Tables, in every place and of every kind.

TABLES = {
    "metadata.jsonl": "".join(
        json.dumps({"file_name": f"./{n:03d}.png", key: text}) + "\n"
        for n, key, text in (
            (1, "text", "one"),
            (2, "caption", ["two", "a pair"]),
            (2, "text", "two"),
            (3, "text", None),
        )
    ),
    "captions.csv": 'caption,file_name,extra\r\none,001.png,\r\n"two",002.png,x\r\n"a pair",002.png,\r\n,003.png,\r\n',
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("split", ["", "train"])
def test_tables(tmp_path: Path, table: str, split: str, caplog: pytest.LogCaptureFixture) -> None:
    root = shades(tmp_path / split, 5)
    for text in root.glob("*.txt"):
        text.unlink()
    (root / "readme.txt").write_text("a caption of nothing")
    (root / table).write_text("\ufeff" + TABLES[table], encoding="utf-8", newline="")
    source = ImageFolder(tmp_path, SIDE, held_out=3)
    found = {number: texts for split in ("train", "val") for number, texts in _captions(source, split)}
    assert found == {0: [], 1: ["one"], 2: ["two", "a pair"], 3: [], 4: []}
    assert caplog.text.count("3 of 5 images have no caption") == 1
    assert caplog.text.count("1 text file(s) have the name of no image (readme.txt)") == 1


def test_a_table_above_both_splits_and_text_files_beside(tmp_path: Path) -> None:
    for split in ("train", "val"):
        shades(tmp_path / split, 2)
    rows = [{"file_name": f"{split}/00{n}.png", "text": f"{split} {n}"} for split in ("train", "val") for n in (0, 1)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = ImageFolder(tmp_path, SIDE)
    for split in ("train", "val"):
        assert [texts[0] for _, texts in _captions(source, split)] == [f"{split} 0", f"{split} 1"]
        assert _captions(source, split)[1][1][1:] == ["shade 1", "the shade 1 again"]


def _captions(source: Source, split: Any) -> list[tuple[int, list[str]]]:
    samples = source.samples(split)
    assert samples.captions is not None
    return [(int(samples[place]["sample"]), samples.captions.all(place)) for place in range(len(samples))]


def test_videos_have_captions_too(tmp_path: Path) -> None:
    pytest.importorskip("av")
    arguments = VideoFolder.make_fake(tmp_path, samples=4)
    for path in tmp_path.rglob("*.mp4"):
        path.with_suffix(".txt").write_text(f"clip {int(path.stem)}")
    batch = VideoFolder(**arguments, frames=4, size=8).samples("train").augmented(torch.arange(3), torch.arange(3), 0)
    assert batch["caption"] == ["clip 2", "clip 1", "clip 3"]  # class_0/00002.mp4 comes first
    assert batch["sample"].tolist() == [0, 1, 2]


def test_without_captions_there_is_no_condition(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = shades(tmp_path, 4)
    for text in root.glob("*.txt"):
        text.unlink()
    (root / "metadata.jsonl").write_text('{"file_name": "001.png", "objects": []}\n')
    source = folder(root)
    assert source.conditions == {} and "caption" not in source.samples("train")[0]
    assert "no caption" not in caplog.text


# What is wrong.


@pytest.mark.parametrize(
    ("file", "content", "line", "what"),
    [
        ("metadata.jsonl", '{"file_name": "000.png", "text": "x"}\n\n{"file', 3, "no JSON"),
        ("metadata.jsonl", "[" * 100_000, 1, "no JSON"),
        ("metadata.jsonl", "[1]", 1, "must be an object"),
        ("metadata.jsonl", '{"text": "x"}', 1, "no file_name"),
        ("metadata.jsonl", '{"file_name": "000.png", "text": 5}', 1, "a text or a list of texts, got 5"),
        ("metadata.jsonl", '{"file_name": "000.png", "text": "\\ud800"}', 1, "surrogates"),
        ("metadata.jsonl", '{"file_name": "9.png", "text": "x"}', 1, "no file '9.png'"),
        ("metadata.jsonl", '{"file_name": "\\u0000", "text": "x"}', 1, "no file"),
        ("metadata.jsonl", '{"file_name": "000.png", "text": "x", "text": "y"}', 1, "the key 'text' is there twice"),
        ("captions.csv", "file_name,text,text\n000.png,x,y\n", 1, "a column is there twice: file_name, text, text"),
        ("captions.csv", "", 1, "columns must be file_name and caption, got none"),
        ("captions.csv", "file_name,label\n000.png,1\n", 1, "got file_name, label"),
        ("captions.csv", "file_name,caption\n000.png,x\n9.png,x\n", 3, "no file '9.png'"),
        ("captions.csv", "file_name,caption\n000.png,red, blue\n", 2, "needs quotes"),
        ("captions.csv", "file_name,caption\n000.png\n", 2, "fewer columns"),
        ("captions.csv", 'file_name,caption\n000.png,"x\n', 2, "no CSV"),
        ("captions.csv", b"file_name,caption\n000.png,\xff\n", 2, "not UTF-8"),
        ("000.txt", b"fine\nnot \xe9\n", 2, "not UTF-8"),
    ],
)
def test_wrong_captions_end_in_one_line_with_the_place(
    tmp_path: Path, file: str, content: str | bytes, line: int, what: str
) -> None:
    (shades(tmp_path, 3) / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        folder(tmp_path).samples("train")
    assert f"{tmp_path / file}, line {line}: " in str(caught.value) and what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("last", [b"", b'["b"]', b"[1]\n", b"{}\n", b"x\n", b"\xff\n"])
def test_damaged_captions_of_tokens_are_refused(sources: dict[str, Source], tmp_path: Path, last: bytes) -> None:
    from mmgen.data.sources.shards import Meta, read_split, write_folder

    meta: Meta = sources["tokens"].meta  # type: ignore[attr-defined]
    columns = {name: torch.zeros(2, dtype=torch.int64) for name in ("label", "sample")} | {
        "values": torch.zeros(2, SIDE * SIDE, dtype=torch.uint8),
        "captions": torch.tensor(list(b'["a"]\n' + last), dtype=torch.uint8),
    }
    wrong = write_folder(tmp_path / "out", Meta(meta.facts, meta.sample_shape), {"train": [columns]})
    with pytest.raises(UserError, match=r"is none that meta\.json describes"):
        read_split(tmp_path / "out", wrong, "train")


def test_none_at_all() -> None:
    captions = Captions.of([])
    assert (len(captions), captions.missing, captions.pick(torch.arange(0))) == (0, 0, [])
    assert captions.vocabulary() == FreeText() and len(captions.choose(torch.arange(0))) == 0
