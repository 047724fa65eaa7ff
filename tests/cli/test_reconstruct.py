import math
from pathlib import Path

import pytest
import torch

from mmgen.cli.main import main
from mmgen.imaging import read_image, save_png, to_uint8
from mmgen.store import load_tokenizer
from tests.tiny_runs import tokenizer_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tokenizer_run(tmp_path / "tok")


def test_pairs_and_figures(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    files = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "other" / "a.png"]
    for number, file in enumerate(files):
        save_png(torch.linspace(-1, 1, 64).view(1, 8, 8).roll(number, -1), file)
    assert main(["reconstruct", str(run), *map(str, files), "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.png", "a.png", "b.png"]
    lines = capsys.readouterr().out.splitlines()
    tokenizer = load_tokenizer(run)
    for file, name, line in zip(files, ["a.png", "b.png", "a-2.png"], lines, strict=True):
        image = read_image(file, (1, 8, 8))
        decoded = tokenizer.decode(tokenizer.encode(image[None]))[0]
        error = (to_uint8(image).double() - to_uint8(decoded).double()).square().mean().item()
        assert line == f"{file}: psnr_db {10 * math.log10(255**2 / error):.2f}, 64 bits -> {tmp_path / 'out' / name}"
        times, pad = 14, 2
        left, right = 8 * times + pad, 2 * (8 * times + pad)
        pair = read_image(tmp_path / "out" / name, (1, left + pad, right + pad))
        assert torch.equal(to_uint8(pair[:, pad:left:times, pad:left:times]), to_uint8(image))
        assert torch.equal(to_uint8(pair[:, pad:left:times, left + pad : right : times]), to_uint8(decoded))


def test_another_size_fits_when_asked(run: Path, tmp_path: Path) -> None:
    save_png(torch.linspace(-1, 1, 3 * 300).view(3, 30, 10), tmp_path / "x.png")
    assert main(["reconstruct", str(run), str(tmp_path / "x.png"), "--resize", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "x.png").exists()


def test_one_bad_file_among_good_ones_stops_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    save_png(torch.zeros(1, 8, 8), tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no image")
    files = [str(tmp_path / "good.png"), str(tmp_path / "bad.png")]
    assert main(["reconstruct", str(run), *files, "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
