"""A run folder has one writer, is whole at any moment, and is never removed with a checkpoint in it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmgen.apps.cli.main import main
from mmgen.apps.cli.run_folder import RunFolder
from mmgen.training import TokenizerModule
from tests.training.fits import QUICK, TOKENIZER, Killed, checkpoint, fake, fit

STEPS = ["--data.global_batch_size=4", "--trainer.max_steps=2"]
HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
file.write("process 7 on another")
file.flush()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return fake(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def command(digits: list[str], tmp_path: Path) -> list[str]:
    return ["fit", *TOKENIZER, *QUICK, *STEPS, *digits, f"--run={tmp_path / 'run'}"]


def die(command: list[str], patch: pytest.MonkeyPatch) -> None:
    """Start a run that is killed in its first step, with no time to clean up."""

    def dies(*_: Any) -> None:
        raise Killed

    with patch.context() as patched:
        patched.setattr(TokenizerModule, "training_step", dies)
        patched.setattr(RunFolder, "release", lambda *_, **__: None)
        with pytest.raises(Killed):
            main(command)


def test_a_run_killed_before_its_first_checkpoint_starts_anew_by_the_same_command(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    die(command, monkeypatch)
    run = tmp_path / "run"
    (run / "checkpoints" / ".last.ckpt.partial").write_text("half of it")
    assert (run / "config.yaml").is_file()
    capfd.readouterr()
    assert main(command) == 0
    assert f"{run} was left before its first checkpoint: it starts anew" in capfd.readouterr().err
    assert checkpoint(run)["global_step"] == 2
    assert len(json.loads((run / "record.json").read_text())["commands"]) == 1
    assert not (run / ".lock").exists()


@pytest.mark.parametrize("file", ["notes.txt", "checkpoints/best.ckpt", "checkpoints/last-before.ckpt"])
def test_what_is_more_than_such_a_run_is_not_touched(
    file: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    die(command, monkeypatch)
    (tmp_path / "run" / file).write_text("mine")
    config = (tmp_path / "run" / "config.yaml").stat().st_ino
    assert main(command) == 2
    assert "exists and nothing is overwritten" in capfd.readouterr().err
    assert (tmp_path / "run" / file).read_text() == "mine"
    assert (tmp_path / "run" / "config.yaml").stat().st_ino == config


@pytest.mark.parametrize("resume", [[], ["--ckpt_path=last"]])
def test_a_second_process_is_refused(
    resume: list[str], command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    if resume:
        assert main(command) == 0
    run.mkdir(exist_ok=True)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(run / ".lock")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        longer = [*command, "--trainer.max_steps=3", *resume]
        assert main(longer) == 2
        assert f"{run} is being trained by process 7 on another: wait for it" in capfd.readouterr().err
        assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    finally:
        holder.kill()
        holder.communicate()
    assert main(longer) == 0  # the lock ended with its process


def test_a_resumed_run_that_is_refused_keeps_its_config(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here there is no room for its checkpoints."""
    assert main(command) == 0
    run = tmp_path / "run"
    before = {file: file.read_bytes() for file in (*run.glob("*.yaml"), run / "record.json")}
    disk = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=0))
    monkeypatch.setattr("mmgen.training.disk_space.shutil", disk)
    assert main([*command, "--trainer.max_steps=2000", "--ckpt_path=last", "--ema.decay=0.9"]) == 2
    assert before == {file: file.read_bytes() for file in (*run.glob("*.yaml"), run / "record.json")}


def test_an_older_config_stays_beside_the_new_one(digits: list[str], tmp_path: Path) -> None:
    options = [*TOKENIZER, *digits, "--data.global_batch_size=4"]
    run = fit(tmp_path / "run", *options, "--trainer.max_steps=1")
    before = (run / "config.yaml").read_text()
    fit(run, *options, "--trainer.max_steps=2", "--ckpt_path=last")
    assert (run / "config-before-1.yaml").read_text() == before != (run / "config.yaml").read_text()
    assert len(json.loads((run / "record.json").read_text())["commands"]) == 2


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_strategies_that_train_in_other_processes_are_refused(
    strategy: str, command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, f"--trainer.strategy={strategy}", "--trainer.devices=2"]) == 2
    assert f"trainer.strategy {strategy} trains in processes" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_no_folder_with_a_checkpoint_is_removed(tmp_path: Path) -> None:
    """Whatever a trainer says of its steps."""
    folder = RunFolder(tmp_path / "run")
    folder.claim(resume=False)
    (folder.path / "checkpoints").mkdir()
    folder.release(started=False)
    assert not folder.path.exists()
    folder.claim(resume=False)
    (folder.path / "checkpoints").mkdir()
    (folder.path / "checkpoints" / "last.ckpt").write_bytes(b"")
    folder.release(started=False)
    assert (folder.path / "checkpoints" / "last.ckpt").exists()
