import io
from pathlib import Path

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.media.video import read_clip
from mmgen.modalities.video.commands.play import terminal_picture
from mmgen.modalities.video.sampling import sample_clips
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import load_generator
from tests.tiny_runs import video_run, video_tokenizer_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return video_run(folder / "gen", video_tokenizer_run(folder / "tok"))


def play(run: Path, out: Path, typed: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return main(["play", str(run), "--mode", "frame", "--class", "3", "--out", str(out), *options])


def test_each_line_leads_to_the_next_frame(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.mp4"
    assert play(run, out, "left\n\n2\nup\nstay\nq\nleft\n", monkeypatch) == 0
    printed = capsys.readouterr()
    assert f"5 frames: {out}" in printed.out
    assert "actions 'up' is unknown" in printed.err  # asked again
    actions = torch.tensor([[-1, 1, 1, 2, 0]])
    conditions = {"class": torch.tensor([3]), "actions": actions}
    same = sample_clips(SamplingTask(load_generator(run), "frame", conditions, frames=5))
    assert (read_clip(out, (1, 5, 32, 32), 10) - same.clips[0]).abs().mean() < 0.1


def test_it_ends_with_the_frames_or_the_input(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(run, tmp_path / "a.mp4", "left\n" * 9, monkeypatch, "--frames", "3") == 0
    assert "3 frames" in capsys.readouterr().out
    options = ["--context", "held_out", "--context_frames", "3"]
    assert play(run, tmp_path / "b.mp4", "left\nright", monkeypatch, *options) == 0
    assert "5 frames" in capsys.readouterr().out  # three that are given, and two


def test_what_cannot_be_played_is_told_in_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").touch()
    assert play(run, tmp_path / "a.mp4", "", monkeypatch) == 2
    assert "exists, and nothing is overwritten" in capsys.readouterr().err
    still = video_run(tmp_path / "gen", video_tokenizer_run(tmp_path / "tok"), actions=0)
    assert play(still, tmp_path / "b.mp4", "", monkeypatch) == 2
    assert "was trained without actions, so nothing steers it" in capsys.readouterr().err


def test_a_picture_of_half_blocks() -> None:
    frame = torch.tensor([[[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]])
    lines = terminal_picture(frame).split("\n")
    assert len(lines) == 2  # two rows of pixels a line
    assert lines[0].count("\u2580") == 2
    assert lines[0].startswith("\x1b[38;2;255;255;255m\x1b[48;2;0;0;0m")
    wide = terminal_picture(torch.zeros(3, 8, 300), columns=100)
    assert wide.split("\n")[0].count("\u2580") == 100
