import json
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmgen.apps.cli.main import main
from mmgen.core.tokens import Tokens
from mmgen.media.image_file import read_image
from mmgen.media.images import save_png, to_uint8
from mmgen.modalities.image.evaluation.npz import read_npz
from mmgen.store.store import load_tokenizer
from tests.tiny_runs import generator_run, tokenizer_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return generator_run(folder / "gen", tokenizer_run(folder / "tok"))


def sample(run: Path, out: Path, *options: str) -> dict[str, torch.Tensor]:
    assert main(["sample", str(run), "--out", str(out), *options]) == 0
    return load_file(out / "samples.safetensors")


def test_it_writes_a_grid_the_images_their_tokens_and_a_record(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = "--mode masked --steps 4 --cfg 2 --cfg_schedule linear --class one,2 --num 11 --seed 3 --top_k 8"
    found = sample(run, out, *line.split())
    assert sorted(path.name for path in out.iterdir()) == [
        *[f"{number:02d}.png" for number in range(11)], "grid.png", "record.json", "samples.safetensors",
    ]  # fmt: skip
    assert found["labels"].tolist() == [1, 2] * 5 + [1]
    decoded = load_tokenizer(run.parent / "tok").decode(Tokens(found["tokens"], (1, 4, 4)))
    for number, image in enumerate(decoded):
        assert torch.equal(to_uint8(read_image(out / f"{number:02d}.png", (1, 8, 8))), to_uint8(image))
    record = json.loads((out / "record.json").read_text())
    counts = {"steps": 4, "forward_passes": 4, "samples": 11, "seed": 3, "trained_steps": 12}
    assert record["mode"] == "masked" and {name: record[name] for name in counts} == counts
    assert record["guidance"] == {"scale": 2.0, "schedule": "linear", "drop": None}
    assert record["decoding"]["top_k"] == 8
    assert record["seconds"] > 0
    printed = capsys.readouterr()
    words = ("scale 2.0", "schedule linear", "temperature 1.0", "top_k 8", "noise 4.5", "order confidence", str(out))
    assert all(each in printed.out for each in words)
    assert printed.err == ""  # the bar shows on a terminal only


def test_the_samples_are_written_in_adm_s_form_too(run: Path, tmp_path: Path) -> None:
    found = sample(run, tmp_path / "out", "--mode", "ar", "--num", "5", "--npz")
    images = read_npz(tmp_path / "out" / "samples.npz", (1, 8, 8))
    assert torch.equal(images.labels, found["labels"])
    for number, pixels in enumerate(images.values):
        assert torch.equal(to_uint8(read_image(tmp_path / "out" / f"{number}.png", (1, 8, 8))), pixels)


def test_the_recorded_command_gives_the_same_samples(run: Path, tmp_path: Path) -> None:
    first = sample(run, tmp_path / "one", "--mode", "block", "--num", "5", "--film", "--temperature", "0.9")
    command = json.loads((tmp_path / "one" / "record.json").read_text())["command"]
    words = shlex.split(command.replace(str(tmp_path / "one"), str(tmp_path / "two")))
    assert words[:2] == ["mmgen", "sample"]
    assert main(words[1:]) == 0
    second = load_file(tmp_path / "two" / "samples.safetensors")
    assert torch.equal(first["tokens"], second["tokens"])
    assert (tmp_path / "two" / "animation.gif").read_bytes() == (tmp_path / "one" / "animation.gif").read_bytes()


@pytest.mark.parametrize("mode", ["ar", "masked", "block"])
def test_the_batch_changes_no_sample(mode: str, run: Path, tmp_path: Path) -> None:
    whole = sample(run, tmp_path / "whole", "--mode", mode, "--num", "6")
    parts = sample(run, tmp_path / "parts", "--mode", mode, "--num", "6", "--batch", "4")
    few = sample(run, tmp_path / "few", "--mode", mode, "--num", "2")
    assert torch.equal(whole["tokens"], parts["tokens"])
    assert torch.equal(whole["tokens"][:2], few["tokens"])
    other = sample(run, tmp_path / "other", "--mode", mode, "--num", "6", "--seed", "1")
    assert not torch.equal(whole["tokens"], other["tokens"])


def test_the_animation_shows_every_state(run: Path, tmp_path: Path) -> None:
    sample(run, tmp_path / "out", "--mode", "masked", "--steps", "5", "--num", "4", "--film")
    with (
        Image.open(tmp_path / "out" / "animation.gif") as animation,
        Image.open(tmp_path / "out" / "grid.png") as still,
    ):
        assert animation.n_frames == 6  # the empty state and five steps
        animation.seek(5)
        assert animation.size == still.size
        assert animation.convert("L").tobytes() == still.convert("L").tobytes()


def test_a_region_of_an_image_is_kept(run: Path, tmp_path: Path) -> None:
    image = torch.linspace(-1, 1, 64).view(1, 8, 8)
    save_png(image, tmp_path / "real.png")
    real = (
        load_tokenizer(run.parent / "tok").encode(read_image(tmp_path / "real.png", (1, 8, 8))[None]).values.view(4, 4)
    )
    options = ["--mode", "masked", "--num", "5", "--inpaint", str(tmp_path / "real.png"), "--keep_region", "0:4,1:3"]
    filled = sample(run, tmp_path / "out", *options)["tokens"].view(5, 4, 4)
    assert torch.equal(filled[:, :, 1:3], real[:, 1:3].expand(5, -1, -1))
    assert len(set(map(tuple, filled.flatten(1).tolist()))) > 1


def test_without_a_place_it_takes_the_next_number_in_the_run(tmp_path: Path) -> None:
    run = generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok"))
    for number in ("000", "001"):
        assert main(["sample", str(run), "--mode", "ar", "--num", "1"]) == 0
        assert (run / "samples" / number / "grid.png").exists()


def test_an_interrupted_sampling_leaves_nothing(run: Path, tmp_path: Path) -> None:
    save_png(torch.zeros(1, 8, 8), tmp_path / "real.png")
    options = ["--mode", "ar", "--inpaint", str(tmp_path / "real.png"), "--keep_region", "2:"]  # refused late
    assert main(["sample", str(run), "--out", str(tmp_path / "out"), *options]) == 2
    assert not (tmp_path / "out").exists()


def test_in_lower_precision_it_draws_all_the_same(run: Path, tmp_path: Path) -> None:
    found = sample(run, tmp_path / "out", *["--mode", "ar", "--num", "2", "--precision", "bfloat16"])
    full = sample(run, tmp_path / "full", *["--mode", "ar", "--num", "2"])
    assert found["tokens"].shape == full["tokens"].shape
    assert json.loads((tmp_path / "out" / "record.json").read_text())["precision"] == "bfloat16"
