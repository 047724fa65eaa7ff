"""Law 7: however a global batch is divided among processes, micro-batches and accumulation, and whether each process
holds the whole model or a share of it, the run ends in the same weights, up to the order in which floats are summed.
"""

from pathlib import Path

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.media.torch_file import Unsound
from mmgen.store.checkpoint_file import best_record, check_seal, read_checkpoint
from mmgen.store.sharded_checkpoint import check_hashes
from mmgen.store.store import load_generator
from tests.training.fits import checkpoint, fit
from tests.training.split_runs import DOUBLE, GLOBAL, OPTIONS, SHARDED, STEPS, assert_same, command, launch

SPLITS = {1: (1, 2, 4, 8), 2: (1, 2, 4)}  # processes -> batches accumulated; samples at once are what is left
DDP = ["--trainer.strategy=ddp", "--trainer.devices=2", *DOUBLE]


def accumulate(count: int) -> str:
    return f"--trainer.accumulate_grad_batches={count}"


@pytest.fixture(scope="module")
def data(digits: list[str], tokenizer: Path) -> list[str]:
    return [*digits, f"--data.tokenizer={tokenizer}"]


@pytest.fixture(scope="module")
def alone(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that all others are compared with."""
    return fit(tmp_path_factory.mktemp("alone") / "run", *OPTIONS, *data, *DOUBLE)


@pytest.fixture(scope="module")
def two(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all runs of two processes."""
    folder = tmp_path_factory.mktemp("two")
    whole = [command(folder / f"ddp{count}", *data, *DDP, accumulate(count)) for count in SPLITS[2]]
    shared = [*data, *SHARDED, "--trainer.devices=2"]
    sharded = command(folder / "sharded", *shared)
    killed = ["kill=3", *command(folder / "killed", *shared, accumulate(2), "--checkpoint.every_n_train_steps=2")]
    launch(2, [*whole, sharded, killed])
    return folder


@pytest.mark.parametrize("count", SPLITS[1][1:])
def test_one_process_in_smaller_batches(count: int, alone: Path, data: list[str], tmp_path: Path) -> None:
    assert_same(checkpoint(alone), checkpoint(fit(tmp_path / "run", *OPTIONS, *data, *DOUBLE, accumulate(count))))


@pytest.mark.parametrize("count", SPLITS[2])
def test_two_processes_with_the_whole_model_each(count: int, alone: Path, two: Path) -> None:
    assert GLOBAL % (2 * count) == 0
    assert_same(checkpoint(alone), checkpoint(two / f"ddp{count}"))


def test_two_processes_with_half_the_model_each(alone: Path, two: Path) -> None:
    folder = two / "sharded" / "checkpoints" / "last.ckpt"
    sizes = [file.stat().st_size for file in folder.glob("*.safetensors")]
    assert len(sizes) == 2
    assert max(sizes) < 1.5 * min(sizes)
    assert_same(checkpoint(alone), read_checkpoint(folder))
    whole, shares = (best_record(run / "checkpoints" / "best.ckpt") for run in (alone, two / "sharded"))
    assert whole is not None and shares is not None  # the best checkpoint is a folder of shares too
    assert shares == whole | {"loss": pytest.approx(whole["loss"], rel=1e-6)}
    assert read_checkpoint(two / "sharded" / "checkpoints" / "best.ckpt")["global_step"] == shares["step"]


def test_a_sharded_run_exports_and_loads_as_one_model(alone: Path, two: Path, tmp_path: Path) -> None:
    assert main(["export", str(two / "sharded"), "--out", str(tmp_path / "out")]) == 0
    models = [load_generator(path) for path in (alone, two / "sharded", tmp_path / "out")]
    assert {model.step for model in models} == {STEPS}
    for states in zip(*(model.generator.state_dict().values() for model in models), strict=True):
        assert all(torch.allclose(states[0], each, atol=1e-7) for each in states)


def test_killed_with_two_processes_and_gone_on_with_one(
    alone: Path, two: Path, data: list[str], tmp_path: Path
) -> None:
    """From a folder of shares, by a plain run; tests/soak/test_scale_resume.py has it by a sharded one."""
    folder = two / "killed" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(folder)["global_step"] == 2
    assert_same(checkpoint(alone), checkpoint(fit(tmp_path / "run", *OPTIONS, *data, *DOUBLE, f"--ckpt_path={folder}")))


def test_damage_in_a_folder_of_parts_is_named(two: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "last.ckpt"
    shutil.copytree(two / "sharded" / "checkpoints" / "last.ckpt", folder)
    part = sorted(folder.glob("*.safetensors"))[1]
    data = part.read_bytes()
    part.write_bytes(data[:-3] + b"abc")
    with pytest.raises(Unsound, match=f"corrupt part {part.name}"):
        check_hashes(folder, [part.name])
    with pytest.raises(Unsound, match=f"corrupt part {part.name}"):
        read_checkpoint(folder)
    part.write_bytes(data[:-3])
    with pytest.raises(Unsound, match=f"truncated part {part.name}"):
        check_seal(folder)
    part.unlink()
    with pytest.raises(Unsound, match=f"lacks its part {part.name}"):
        check_seal(folder)
    (folder / "parts.json").unlink()
    with pytest.raises(Unsound, match="was not written whole"):
        check_seal(folder)
