"""Runs that change the number of processes on their way, and one task of SLURM by its environment variables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmgen
from mmgen.store.checkpoint_file import read_checkpoint
from tests.training.fits import TOKENIZER, checkpoint, fake, fit
from tests.training.split_runs import DOUBLE, OPTIONS, SHARDED, assert_same, command, launch
from tests.training.splits import Killed, dying

pytestmark = pytest.mark.skipif("MMGEN_KILLS" not in os.environ, reason="takes minutes: make soak runs it")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("data")
    digits = fake(folder / "digits")
    few = ["--data.global_batch_size=4", "--trainer.max_steps=2"]
    return [*digits, f"--data.tokenizer={fit(folder / 'bsq', *TOKENIZER, *digits, *few)}"]


@pytest.fixture(scope="module")
def alone(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("alone") / "run", *OPTIONS, *data, *DOUBLE)


def test_killed_with_one_process_and_gone_on_with_two(alone: Path, data: list[str], tmp_path: Path) -> None:
    """From a folder that one process wrote, and from a file."""
    every = "--checkpoint.every_n_train_steps=2"
    launch(1, [["kill=3", *command(tmp_path / "folder", *data, *SHARDED, every)]])
    with dying(3), pytest.raises(Killed):
        fit(tmp_path / "file", *OPTIONS, *data, *DOUBLE, every)
    starts = {name: tmp_path / name / "checkpoints" / "last.ckpt" for name in ("folder", "file")}
    assert starts["folder"].is_dir()
    assert starts["file"].is_file()
    both = [*data, *SHARDED, "--trainer.devices=2"]
    launch(2, [command(tmp_path / f"on-{name}", *both, f"--ckpt_path={path}") for name, path in starts.items()])
    for name in starts:
        assert_same(checkpoint(alone), read_checkpoint(tmp_path / f"on-{name}" / "checkpoints" / "last.ckpt"))


def test_killed_with_two_processes_and_gone_on_with_one(alone: Path, data: list[str], tmp_path: Path) -> None:
    """Sharded before and after: the one process has all shares."""
    two = command(tmp_path / "two", *data, *SHARDED, "--trainer.devices=2", "--checkpoint.every_n_train_steps=2")
    launch(2, [["kill=3", *two]])
    folder = tmp_path / "two" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(folder)["global_step"] == 2
    launch(1, [command(tmp_path / "one", *data, *SHARDED, f"--ckpt_path={folder}")])
    assert_same(checkpoint(alone), read_checkpoint(tmp_path / "one" / "checkpoints" / "last.ckpt"))


def test_bfloat16_in_shares_trains(data: list[str], tmp_path: Path) -> None:
    """Blocks are gathered in bfloat16, and the loss is that of autocast to its rounding."""
    mixed = "--trainer.precision=bf16-mixed"
    launch(2, [command(tmp_path / "two", *data, SHARDED[0], "--trainer.devices=2", mixed)])
    one = checkpoint(fit(tmp_path / "one", *OPTIONS, *data, mixed))["current_model_state"]
    two = read_checkpoint(tmp_path / "two" / "checkpoints" / "last.ckpt")["current_model_state"]
    assert all(value.dtype == two[name].dtype and value.isfinite().all() for name, value in one.items())
    assert max(float((value - two[name]).abs().max()) for name, value in one.items()) < 0.01


def test_one_task_of_slurm(alone: Path, data: list[str], tmp_path: Path) -> None:
    """The recipe for SLURM as it stands but for the accelerator and the numbers of nodes and devices."""
    root = str(Path(mmgen.__file__).parents[1])
    slurm = {
        "SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
        "SLURM_NODELIST": "localhost", "SLURM_JOB_NODELIST": "localhost",
    }  # fmt: skip
    environment = os.environ | slurm | {"PYTHONPATH": root, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    recipe = ["--config=configs/trainer/slurm.yaml", "--trainer.num_nodes=1", "--trainer.devices=1"]
    words = command(tmp_path / "run", *data, *recipe, *DOUBLE)
    done = subprocess.run(
        [sys.executable, "-c", "from mmgen.apps.cli.main import entry; entry()", *words],
        env=environment,
        cwd=root,
        timeout=600,
    )
    assert done.returncode == 0
    assert_same(checkpoint(alone), checkpoint(tmp_path / "run"))
