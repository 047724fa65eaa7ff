import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmgen.apps.cli.main import main
from mmgen.core.tokens import Tokens
from mmgen.media.image_file import read_image
from mmgen.media.images import save_png, to_uint8
from mmgen.store.store import load_generator
from tests.tiny_runs import MIXTURE, generator_run, tokenizer_run, video_run, video_tokenizer_run

MASKED = {"class_path": "mmgen.paradigms.Masked", "init_args": {"steps": 3}}
FILES = [f"{number}.png" for number in range(5)]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs, images, and x.mmg, the images compressed."""
    folder = tmp_path_factory.mktemp("templates")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tokenizer = tokenizer_run(Path("tok"))
        generator_run(Path("gen"), tokenizer)
        generator_run(Path("plain"), tokenizer, classes=0)
        video_run(Path("clips"), video_tokenizer_run(Path("clip_tok")))
        generator_run(Path("masked"), tokenizer, paradigm=MASKED)
        generator_run(Path("another"), tokenizer, classes=2, paradigm=MIXTURE)
        source = torch.Generator().manual_seed(0)
        for file in FILES:
            save_png(torch.rand(1, 8, 8, generator=source) * 2 - 1, file)
        save_png(torch.zeros(1, 9, 8), "large.png")
        assert main(["compress", "gen", *FILES, "--out", "x.mmg"]) == 0
    return folder


@pytest.fixture
def place(tmp_path: Path, templates: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(templates, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def refuse(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    before = sorted(Path().rglob("*"))
    assert main(line.split()) == 2
    told = capsys.readouterr()
    assert re.fullmatch(r"mmgen: error: [^\n]+\n", told.err), told.err
    assert told.out == ""
    assert sorted(Path().rglob("*")) == before, "files changed"
    return told.err


@pytest.mark.parametrize("options", ["", "--class two", "--class none,0,1,2,one", "--batch 2"])
def test_images_there_and_back(place: Path, capsys: pytest.CaptureFixture[str], options: str) -> None:
    assert main(["compress", "gen", *FILES, "--out", "y.mmg", *options.split()]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    size = os.path.getsize("y.mmg")
    assert int(lines["images"]) == 5
    assert lines["bytes"].split()[0] == f"{size},"
    header, code = int(lines["bytes"].split()[1]), float(lines["code"].split()[0])
    assert code == pytest.approx(8 * (size - header) / 5, abs=0.01)
    assert code == pytest.approx(float(lines["cross-entropy"].split()[0]), rel=0.01, abs=64 / 5)
    assert lines["tokens"].split()[0] == "64.00"
    assert lines["pixels"].strip() == f"512 bits an image, {5 * 512 / (8 * size):.2f} times the file"

    assert main(["decompress", "gen", "y.mmg", "--out", "back", "--tokens", "back.safetensors"]) == 0
    loaded = load_generator("gen")
    assert loaded.tokenizer is not None
    saved = load_file("back.safetensors")
    expected = {"--class two": [2] * 5, "--class none,0,1,2,one": [-1, 0, 1, 2, 1]}.get(options, [-1] * 5)
    assert saved["labels"].tolist() == expected
    assert sorted(os.listdir("back")) == FILES
    for number, file in enumerate(FILES):
        tokens = loaded.tokenizer.encode(read_image(file, (1, 8, 8))[None])
        assert torch.equal(saved["tokens"][number], tokens.values[0])
        decoded = loaded.tokenizer.decode(Tokens(tokens.values, tokens.grid))[0]
        assert torch.equal(to_uint8(read_image(Path("back") / file, (1, 8, 8))), to_uint8(decoded))


def test_a_run_without_classes_and_an_export_of_it_read_each_other(place: Path) -> None:
    assert main(["export", "plain", "--out", "exported"]) == 0
    assert main(["compress", "plain", "0.png", "large.png", "--resize", "--out", "y.mmg"]) == 0
    assert main(["decompress", "exported", "y.mmg", "--out", "back"]) == 0
    assert sorted(os.listdir("back")) == ["0.png", "1.png"]


CASES = {
    "file there": ("compress gen 0.png --out x.mmg", "x.mmg exists, and nothing is overwritten"),
    "no folder": ("compress gen 0.png --out no/y.mmg", "the folder of --out no/y.mmg does not exist"),
    "clips": ("compress clips 0.png --out y.mmg", "clips generates clips: choose a run of images"),
    "no mode": ("compress masked 0.png --out y.mmg", "it has no autoregressive mode, only masked"),
    "wrong mode": ("compress gen 0.png --out y.mmg --mode block", "the ones for that are ar"),
    "size": ("compress gen large.png --out y.mmg", "--resize fits it"),
    "class": ("compress gen 0.png --out y.mmg --class seven", "class 'seven' is unknown"),
    "classes": ("compress gen 0.png 1.png 2.png --out y.mmg --class one,two", "2 classes for 3 images"),
    "batch": ("compress gen 0.png --out y.mmg --batch 0", "--batch 0 must be at least 1"),
    "no file": ("decompress gen y.mmg --out back", "y.mmg cannot be read: No such file or directory"),
    "a folder": ("decompress gen gen --out back", "gen cannot be read: Is a directory"),
    "an image": ("decompress gen 0.png --out back", "0.png is no file of mmgen compress"),
    "another model": ("decompress another x.mmg --out back", "compressed with another model than another"),
    "full folder": ("decompress gen x.mmg --out gen", "folder gen is not empty"),
    "tokens there": ("decompress gen x.mmg --out back --tokens 0.png", "--tokens 0.png exists"),
}


@pytest.mark.parametrize(("line", "words"), CASES.values(), ids=CASES)
def test_mistakes_end_in_a_line(place: Path, capsys: pytest.CaptureFixture[str], line: str, words: str) -> None:
    assert words in refuse(line, capsys)


@pytest.mark.parametrize("change", ["cut", "flip", "empty"])
def test_damage_ends_in_a_line(place: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    data = Path("x.mmg").read_bytes()
    for at in {"cut": range(0, len(data), 9), "flip": range(0, len(data), 5), "empty": [0]}[change]:
        bad = {"cut": data[:at], "flip": data[:at] + bytes([data[at] ^ 64]) + data[at + 1 :], "empty": b""}[change]
        Path("bad.mmg").write_bytes(bad)
        assert "bad.mmg " in refuse("decompress gen bad.mmg --out back", capsys)
