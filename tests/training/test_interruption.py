"""Ctrl-C and SIGTERM while a run trains: the step is finished and saved, and the run goes on from it bit for bit."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.data.worker import lost_worker
from mmgen.store.checkpoint_file import best_record, check_seal
from mmgen.training import GeneratorModule, TokenizerModule
from tests.training.fits import GENERATOR, QUICK, TOKENIZER, checkpoint, fit
from tests.training.test_resume import same

STATE = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "DataModule")


@pytest.fixture
def options(digits: list[str], tokenizer: Path) -> list[str]:
    """A generator with dropout, an average and accumulated batches, whose checkpoints are far apart."""
    sizes = ["--data.global_batch_size=6", "--trainer.max_steps=6", "--trainer.accumulate_grad_batches=2"]
    rest = ["--model.backbone.dropout=0.2", "--ema.decay=0.9", "--trainer.val_check_interval=3"]
    return [*GENERATOR, *digits, f"--data.tokenizer={tokenizer}", *sizes, *rest, "--checkpoint.every_n_train_steps=4"]


def sends(module: type, method: str, patch: pytest.MonkeyPatch, when: Callable[[Any], bool], *numbers: int) -> None:
    """A method of a module sends signals to this process."""
    original = getattr(module, method)

    def call(self: Any, *args: Any) -> Any:
        if when(self.trainer):
            for number in numbers:
                signal.raise_signal(number)
        return original(self, *args)

    patch.setattr(module, method, call)


@pytest.mark.parametrize(("number", "code", "word"), [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "interrupted")])
def test_a_signal_ends_a_run_after_its_step(
    number: str, code: int, word: str, options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the first of two accumulated batches. The same command goes on, and ends in the same weights."""
    whole = checkpoint(fit(tmp_path / "whole", *options))
    command, handlers = ["fit", *QUICK, *options, f"--run={tmp_path / 'run'}"], _handlers()
    capfd.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        first = lambda trainer: trainer.global_step == 2  # noqa: E731
        sends(GeneratorModule, "training_step", patch, first, getattr(signal, number))
        assert main(command) == code
    assert capfd.readouterr().err == f"mmgen: {word}; the same command with --ckpt_path last goes on\n"
    assert _handlers() == handlers
    check_seal(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert checkpoint(tmp_path / "run")["global_step"] == 3
    assert main([*command, "--ckpt_path=last"]) == 0
    same({key: whole[key] for key in STATE}, {key: checkpoint(tmp_path / "run")[key] for key in STATE})


@pytest.mark.parametrize("every", [2, 3])
def test_a_signal_while_validating(
    every: int, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ends the run with a checkpoint of that step, from after the validation."""
    sends(GeneratorModule, "validation_step", monkeypatch, lambda trainer: trainer.global_step == 3, signal.SIGTERM)
    steps = ["--trainer.accumulate_grad_batches=1", f"--checkpoint.every_n_train_steps={every}"]
    assert main(["fit", *QUICK, *options, *steps, f"--run={tmp_path / 'run'}"]) == 143
    assert checkpoint(tmp_path / "run")["global_step"] == 3
    assert best_record(tmp_path / "run" / "checkpoints" / "best.ckpt")["step"] == 3


def test_a_signal_before_the_first_step_leaves_no_run(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sends(GeneratorModule, "configure_optimizers", monkeypatch, lambda _: True, signal.SIGTERM)
    assert main(["fit", *QUICK, *options, f"--run={tmp_path / 'run'}"]) == 143
    assert not (tmp_path / "run").exists()


def test_a_second_signal_ends_a_run_at_once(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sent twice, as launchers do, is one."""
    monkeypatch.setattr("mmgen.training.interruption._SAME", 0.0)
    sends(GeneratorModule, "training_step", monkeypatch, lambda trainer: trainer.global_step == 5, *2 * [signal.SIGINT])
    assert main(["fit", *QUICK, *options, f"--run={tmp_path / 'run'}"]) == 130
    assert checkpoint(tmp_path / "run")["global_step"] == 4


@pytest.mark.parametrize(("another", "step"), [(True, 2), (False, 3)])
def test_processes_end_at_the_same_step(
    another: bool, step: int, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is enough that another one has the signal. One that comes while they agree counts at the next step."""

    def reduce(self: Any, own: torch.Tensor, **_: Any) -> torch.Tensor:
        if not another and len(steps) == 4:
            signal.raise_signal(signal.SIGTERM)
        return torch.where(torch.tensor(another and len(steps) >= 3), signal.SIGTERM, own)

    steps: list[int] = []
    monkeypatch.setattr("lightning.pytorch.trainer.Trainer.world_size", 2)
    monkeypatch.setattr("lightning.pytorch.strategies.SingleDeviceStrategy.reduce", reduce)
    sends(GeneratorModule, "training_step", monkeypatch, lambda trainer: steps.append(trainer.global_step))
    assert main(["fit", *QUICK, *options, f"--run={tmp_path / 'run'}"]) == 143
    assert checkpoint(tmp_path / "run")["global_step"] == step


def test_loading_processes_leave_signals_to_their_parent(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach them too; the step that they load for is still finished."""
    step, workers = TokenizerModule.training_step, set[int]()

    def signalled(self: Any, *args: Any) -> Any:
        if not workers:
            workers.update(int(each) for each in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
            for number in ("TERM", "INT", "HUP"):  # from another process than the parent, which may end its workers
                subprocess.run(["kill", f"-{number}", *map(str, workers)], check=True)
            time.sleep(0.2)
        return step(self, *args)

    monkeypatch.setattr(TokenizerModule, "training_step", signalled)
    sizes = ["--data.global_batch_size=4", "--trainer.max_steps=3", "--data.num_workers=1"]
    assert fit(tmp_path / "run", *TOKENIZER, *digits, *sizes)
    assert workers


def test_lost_workers_are_explained() -> None:
    full = RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's")
    other = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    other.__cause__ = full
    assert "ran out of shared memory" in str(lost_worker(other))
    assert "was killed" in str(lost_worker(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")))
    assert lost_worker(RuntimeError("shapes differ")) is None


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_a_signal_ends_a_validation(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sends(TokenizerModule, "validation_step", monkeypatch, lambda _: True, signal.SIGTERM)
    capfd.readouterr()
    assert main(["validate", f"--config={tokenizer / 'config.yaml'}"]) == 143
    assert capfd.readouterr().err == "mmgen: terminated\n"
