"""Faults of runs with several processes: of ranks, of loading processes, and of the memory that they share."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mmgen
from mmgen.store.checkpoint_file import check_seal
from tests.training.fits import QUICK, TOKENIZER, fake

pytestmark = pytest.mark.skipif("MMGEN_KILLS" not in os.environ, reason="takes minutes: make soak runs it")

ROOT = str(Path(mmgen.__file__).parents[1])
ENVIRONMENT = os.environ | {"PYTHONPATH": ROOT, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
DDP = ["--trainer.devices=2", "--trainer.strategy=ddp"]
SMALL = "mount -t tmpfs -o size=200k tmpfs /dev/shm"


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Of a program, so that Lightning can start it once more for each rank."""
    script = tmp_path / "start.py"
    script.write_text("from mmgen.apps.cli.main import entry; entry()")
    sizes = ["--data.global_batch_size=4", "--data.num_workers=1", "--trainer.max_steps=100000"]
    return [
        sys.executable,
        str(script),
        "fit",
        *TOKENIZER,
        *QUICK,
        *fake(tmp_path / "digits"),
        *sizes,
        f"--run={tmp_path / 'run'}",
    ]


@contextmanager
def started(command: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command past its first checkpoint, as the leader of a group of processes, of which none stays."""
    with open(tmp_path / "err.txt", "wb") as err:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=err,
            start_new_session=True,
        )
        try:
            while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
                assert process.poll() is None, (tmp_path / "err.txt").read_text()
                time.sleep(0.1)
            yield process
            until = time.monotonic() + 20
            while (left := alive(process.pid)) and time.monotonic() < until:
                time.sleep(0.1)
            assert not left
        finally:
            for each in alive(process.pid):
                os.kill(each, signal.SIGKILL)
            process.wait(20)


def alive(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if not line.split()[1].startswith("Z")]


def second_rank(process: subprocess.Popen[bytes]) -> int:
    ranks = [each for each in alive(process.pid) if each != process.pid]
    return next(each for each in ranks if b"LOCAL_RANK=1\0" in Path(f"/proc/{each}/environ").read_bytes())


@pytest.mark.parametrize("whom", ["the first", "the second", "all"])
def test_a_signal_ends_all_ranks_at_one_step(whom: str, command: list[str], tmp_path: Path) -> None:
    with started([*command, *DDP], tmp_path) as process:
        if whom == "all":  # and those that load for them
            os.killpg(process.pid, signal.SIGTERM)
        else:
            os.kill(process.pid if whom == "the first" else second_rank(process), signal.SIGTERM)
        assert process.wait(60) == 143
    assert (tmp_path / "err.txt").read_text() == "mmgen: terminated; the same command with --ckpt_path last goes on\n"
    check_seal(tmp_path / "run" / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("whom", ["the first", "the second"])
def test_a_rank_that_is_killed_ends_all(whom: str, command: list[str], tmp_path: Path) -> None:
    with started([*command, *DDP], tmp_path) as process:
        os.kill(process.pid if whom == "the first" else second_rank(process), signal.SIGKILL)
        assert process.wait(60) == (-9 if whom == "the first" else 2)
    check_seal(tmp_path / "run" / "checkpoints" / "last.ckpt")


def test_loading_processes_end_with_a_run_that_is_killed(command: list[str], tmp_path: Path) -> None:
    with started(command, tmp_path) as process:
        assert len(alive(process.pid)) > 1
        process.kill()


def test_too_little_shared_memory_is_told_in_one_line(command: list[str], tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "sh", "-c", SMALL], capture_output=True).returncode:
        pytest.skip("only an administrator can make /dev/shm small")
    large = ["--data.global_batch_size=1024", "--data.num_workers=2"]
    words = ["unshare", "-m", "sh", "-c", f'{SMALL}; exec "$@"', "sh", *command, *large]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("mmgen: error: a loading process ")
    assert "shared memory (/dev/shm has 0.2 MiB): give it more" in done.stderr
    assert done.stderr.count("\n") == 1
