"""What a run writes is kept: room is looked for first, a failed write leaves the one before it, damage is found."""

import errno
import os
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)

import mmgen.store.checkpoint_file
import mmgen.training.disk_space
from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.store.checkpoint_file import check_seal, one_before, read_checkpoint
from mmgen.training import TokenizerModule
from mmgen.training.averaging import EMA
from mmgen.training.disk_space import checkpoint_bytes, require_space
from mmgen.training.resume import check_callbacks
from tests.training.fits import QUICK, TOKENIZER, fit

STEPS = ["--data.global_batch_size=4", "--trainer.max_steps=4", "--ema.decay=0.9"]


def refused(options: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert main(["fit", *TOKENIZER, *QUICK, *STEPS, *options]) == 2
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("mmgen: error: ")]
    assert len(told) == 1
    return told[0]


def test_a_disk_that_is_too_small_is_told_before_training(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        mmgen.training.disk_space, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=2**21))
    )
    monkeypatch.setattr(TokenizerModule, "training_step", lambda *_: pytest.fail("it has begun to train"))
    told = refused([*digits, f"--run={tmp_path / 'run'}"], capfd)
    assert "has room for 2 MiB, and 4 checkpoints of this model take about 5 MiB" in told
    assert not (tmp_path / "run").exists()


def test_a_folder_that_takes_no_checkpoints_is_told_before_training(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The folder of the run may be written to, that of its checkpoints not: here, it is a file."""
    monkeypatch.setattr(TokenizerModule, "training_step", lambda *_: pytest.fail("it has begun to train"))
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(
        "mmgen.training.disk_space.DiskSpaceCheck.__init__",
        lambda self, run, best: vars(self).update(folder=tmp_path / "file" / "checkpoints", count=4),
    )
    assert "checkpoints cannot be written to" in refused([*digits, f"--run={tmp_path / 'run'}"], capfd)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match=r"cannot be written to .*: Read-only file system; name another run folder"):
        require_space(tmp_path, 10, 2)


def test_the_size_is_that_of_a_checkpoint(digits: list[str], tmp_path: Path) -> None:
    """Of a model that is large enough for its numbers to count, with an average."""
    wide = ["--model.tokenizer.width=128"]
    run = fit(tmp_path / "run", *TOKENIZER, *wide, *digits, *STEPS[:1], "--trainer.max_steps=1", "--ema.decay=0.9")
    from mmgen.store.store import load_tokenizer

    module = TokenizerModule(load_tokenizer(run).requires_grad_(True))
    actual = (run / "checkpoints" / "last.ckpt").stat().st_size
    assert actual > 3 * 2**20
    assert actual <= checkpoint_bytes(module, averaged=True) <= 1.4 * actual


def test_a_write_that_fails_leaves_the_checkpoint_before_it(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk is full at the third checkpoint; with room again, the run goes on as if nothing had been."""
    whole = read_checkpoint(fit(tmp_path / "whole", *TOKENIZER, *digits, *STEPS) / "checkpoints" / "last.ckpt")
    save, count = torch.save, iter(range(100))

    def full(checkpoint: Any, file: Any) -> None:
        save(checkpoint, file)
        if next(count) == 2:
            file.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(mmgen.store.checkpoint_file.torch, "save", full)
        told = refused([*digits, f"--run={tmp_path / 'run'}"], capfd)
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert f"checkpoint {file} could not be written (No space left on device)" in told
    assert f"{file} is still the one before it" in told
    check_seal(file)
    assert read_checkpoint(file)["global_step"] == 2
    again = read_checkpoint(
        fit(tmp_path / "run", *TOKENIZER, *digits, *STEPS, "--ckpt_path=last") / "checkpoints" / "last.ckpt"
    )
    assert all(value.equal(again["current_model_state"][name]) for name, value in whole["current_model_state"].items())


def test_a_damaged_last_checkpoint_is_replaced_by_the_one_before(
    digits: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Which is told in one line; the run ends as it would have."""
    run = fit(tmp_path / "run", *TOKENIZER, *digits, *STEPS)
    file = run / "checkpoints" / "last.ckpt"
    whole = read_checkpoint(file)
    os.truncate(file, file.stat().st_size - 1000)
    assert read_checkpoint(one_before(file))["global_step"] == 3
    capfd.readouterr()
    again = read_checkpoint(fit(run, *TOKENIZER, *digits, *STEPS, "--ckpt_path=last") / "checkpoints" / "last.ckpt")
    told = [line for line in capfd.readouterr().err.splitlines() if "last.ckpt" in line]
    assert len(told) == 1
    assert f"checkpoint {file} is truncated or corrupt" in told[0]
    assert told[0].endswith("of step 3")
    assert all(value.equal(again["current_model_state"][name]) for name, value in whole["current_model_state"].items())
    check_seal(file)
    check_seal(one_before(file))


def test_no_checkpoint_is_written_between_accumulated_batches(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is resumed, and killed before its next step, leaves the checkpoint that it began with."""
    options = [*TOKENIZER, *digits, *STEPS, "--trainer.accumulate_grad_batches=2"]
    run = fit(tmp_path / "run", *options, "--trainer.limit_train_batches=4", "--trainer.max_epochs=1")
    file = run / "checkpoints" / "last.ckpt"
    before = file.read_bytes()
    step, count = TokenizerModule.training_step, iter(range(10))

    class Killed(BaseException):
        pass

    def dies(self: Any, batch: Any, index: int) -> torch.Tensor:
        if next(count) == 1:
            raise Killed
        return step(self, batch, index)

    monkeypatch.setattr(TokenizerModule, "training_step", dies)
    with pytest.raises(Killed):
        main(["fit", *QUICK, *options, f"--run={run}", "--ckpt_path=last"])
    assert read_checkpoint(file)["global_step"] == 2
    assert file.read_bytes() == before


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_disk_that_fills_up_while_training_is_told_in_one_line(
    checkpoint: bool,
    digits: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whoever meets it: here a thread of a logger does too, which would print a traceback."""

    def full(self: Any, *_: Any) -> None:
        thread = Thread(target=refuse)
        thread.start()
        thread.join()
        refuse()

    def refuse() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    step = TokenizerModule.training_step
    monkeypatch.setattr(
        TokenizerModule,
        "training_step",
        lambda self, *args: (step if self.trainer.global_step < 2 else full)(self, *args),
    )
    every = f"--checkpoint.every_n_train_steps={1 if checkpoint else 9}"
    capfd.readouterr()
    assert main(["fit", *TOKENIZER, *QUICK, *STEPS, *digits, every, f"--run={tmp_path / 'run'}"]) == 2
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    assert f"run folder {tmp_path / 'run'} cannot be written (No space left on device): make room; the same" in line
    assert line.endswith("--ckpt_path last goes on\n" if checkpoint else "starts anew\n")


def test_a_preview_that_finds_no_room_does_not_end_the_training(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mmgen.training.previews.save_png", full)
    options = [*TOKENIZER, *digits, *STEPS, "--samples.count=2", "--trainer.val_check_interval=2"]
    fit(tmp_path / "run", *options)
    told = [each.getMessage() for each in caplog.records if "is not written" in each.getMessage()]
    assert len(told) == 2
    assert "No space left on device" in told[0]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("steps", [3, 4])
def test_a_run_that_has_come_to_its_end_says_so(steps, digits, tmp_path, capsys):
    """It stays as it is; another run that would begin there and train nothing is refused, and leaves no folder."""
    options = [*TOKENIZER, *digits, "--data.global_batch_size=4"]
    run = fit(tmp_path / "run", *options, "--trainer.max_steps=4")
    before, end = tree(run), f"--trainer.max_steps={steps}"
    capsys.readouterr()
    fit(run, *options, end, "--ckpt_path=last")
    assert f"is already at step 4 of {steps}: nothing is left to train" in capsys.readouterr().err
    assert tree(run) == before
    other = tmp_path / "other"
    start = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert main(["fit", *QUICK, *options, end, f"--run={other}", start]) == 2
    assert f"is already at step 4 of {steps}" in capsys.readouterr().err
    assert not other.exists()


def test_a_run_that_its_batches_ended_says_so_too(digits, tmp_path, capsys):
    options = [*TOKENIZER, *digits, "--data.global_batch_size=4", "--trainer.max_steps=9"]
    options += ["--trainer.limit_train_batches=4", "--trainer.max_epochs=1"]
    run = fit(tmp_path / "run", *options)
    config = (run / "config.yaml").read_text()
    assert "nothing was left" not in capsys.readouterr().err
    fit(run, *options, "--ckpt_path=last")
    assert "nothing was left to train after step 4" in capsys.readouterr().err
    assert (run / "config.yaml").read_text() == config


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (GradientAccumulationScheduler({0: 2}), "set trainer.accumulate_grad_batches"),
        (LearningRateFinder(), "compare --model.optimizer.lr"),
        (BatchSizeFinder(), "set data.global_batch_size"),
        (EMAWeightAveraging(), "set ema.decay"),
        (StochasticWeightAveraging(0.1), "set ema.decay"),
        (BackboneFinetuning(), "unfreezes by epochs"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_callbacks_that_falsify_a_run_are_refused(callback, message):
    with pytest.raises(UserError, match=f"trainer.callbacks: {type(callback).__name__} .*{message}"):
        check_callbacks([EMA(0.9), callback])


def test_they_are_refused_before_anything_is_built(digits, tmp_path, capsys):
    words = ["--data.global_batch_size=4", "--trainer.max_steps=2", "--trainer.callbacks=BatchSizeFinder"]
    assert main(["fit", *QUICK, *TOKENIZER, *digits, *words, f"--run={tmp_path / 'run'}"]) == 2
    assert "BatchSizeFinder would lose the place in the data" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
