import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmgen.apps.cli.main import main
from mmgen.core.tokens import Tokens
from mmgen.data.build import build_source
from mmgen.data.held_out import held_out_clips
from mmgen.media.video import read_clip
from mmgen.store.store import load_generator, load_tokenizer
from tests.data_modules import data_section
from tests.tiny_runs import VIDEO_MIXTURE, generator_run, video_run, video_tokenizer_run

MODES = list(VIDEO_MIXTURE["init_args"]["members"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return video_run(folder / "gen", video_tokenizer_run(folder / "tok"))


def sample(run: Path, out: Path, *options: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    assert main(["sample", str(run), "--out", str(out), *options]) == 0
    return load_file(out / "samples.safetensors"), json.loads((out / "record.json").read_text())


def refused(run: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line that a mistake is answered with."""
    assert main(["sample", str(run), "--out", str(out), *options]) == 2
    assert not out.exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_it_writes_all_clips_at_once_one_by_one_and_as_a_sheet(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = "--mode block --steps 3 --num 3 --frames 7 --class 1,4 --seed 2 --fps 5 --actions left,2"
    found, record = sample(run, out, *options.split())
    names = ["0.mp4", "1.mp4", "2.mp4", "grid.gif", "grid.mp4", "record.json", "samples.safetensors", "sheet.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert found["labels"].tolist() == [1, 4, 1]
    assert found["actions"].tolist() == [[-1, 1, 2, 1, 2, 1, 2]] * 3
    decoded = load_tokenizer(run.parent / "tok").decode(Tokens(found["tokens"], (7, 2, 2)))
    for number, clip in enumerate(decoded):
        shown = read_clip(out / f"{number}.mp4", (1, 7, 32, 32), fps=5)
        assert (shown - clip).abs().mean() < 0.1  # H.264 is not exact
    with Image.open(out / "grid.gif") as film, Image.open(out / "sheet.png") as sheet:
        assert film.n_frames == 7
        assert film.info["duration"] == 200
        assert sheet.width > 7 * 32
        assert sheet.height > 3 * 32
    assert record["mode"] == "block"
    assert (record["samples"], record["frames"], record["trained_frames"], record["context_frames"]) == (3, 7, 4, 0)
    assert (record["steps"], record["forward_passes"], record["fps"]) == (21, 21, 5.0)
    assert 0 < record["first_frame_seconds"] < record["seconds"]
    assert record["seconds_per_frame"] == pytest.approx(record["seconds"] / 21, abs=1e-3)
    printed = capsys.readouterr()
    assert "first_frame_seconds:" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("mode", MODES)
def test_held_out_clips_go_on(mode: str, run: Path, tmp_path: Path) -> None:
    found, record = sample(run, tmp_path / "out", "--mode", mode, "--num", "3", "--context", "held_out")
    batch = held_out_clips(build_source(load_generator(run).config).samples("val"), 3)
    assert record["context_frames"] == 1  # the fewest
    assert torch.equal(found["labels"], batch["label"])
    code = load_tokenizer(run.parent / "tok").encode(batch["x"][:, :, :1])
    assert torch.equal(found["tokens"][:, :4], code.values)
    named, _ = sample(run, tmp_path / "named", "--mode", mode, "--num", "3", "--context", "held_out", "--class", "2")
    assert named["labels"].tolist() == [2, 2, 2]


def test_recorded_actions_are_followed(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    data = data_section("Atari", frames=4, size=32, channels=1, clips=1, held_out=3)
    source = build_source({"data": data})
    tokenizer = video_tokenizer_run(tmp_path / "tok")
    run = generator_run(
        tmp_path / "gen", tokenizer, 0, VIDEO_MIXTURE, source.action_names, source.fps, "spatial", data
    )  # fmt: skip
    options = ["--mode", "frame", "--num", "3", "--context", "held_out", "--actions"]
    batch = held_out_clips(source.samples("val"), 3)
    recorded, record = sample(run, tmp_path / "recorded", *options, "recorded")
    assert torch.equal(recorded["actions"], batch["action"])
    assert record["fps"] == 15.0
    other, _ = sample(run, tmp_path / "other", *options, "noop")
    assert torch.equal(recorded["tokens"][:, :4], other["tokens"][:, :4])
    assert not torch.equal(recorded["tokens"], other["tokens"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--inpaint a.png", "--inpaint is for images and motions, and"),
        ("--frames 0", "--frames 0 must be at least 1"),
        ("--fps 0", "--fps 0 must be above 0"),
        ("--actions jump", "actions 'jump' is unknown"),
        ("--actions recorded", "needs --context held_out"),
        ("--context held_out --actions recorded", "needs --context held_out, with actions"),
        ("--context_frames 1", "--context_frames needs --context"),
        ("--context held_out --context_frames 4", "--context_frames 4 must lie between 1 and 3 in clips of 4"),
        ("--context held_out --context_frames 5 --frames 9", "more than the 4 frames of the held-out clips"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    options: str, told: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(run, tmp_path / "out", capsys, "--mode", "block", *options.split())
