"""A run that goes on with other options has them from its next step on, and says what they were before."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from mmgen.core.errors import UserError
from mmgen.training.optim import FusedAdamW, WarmupCosine
from mmgen.training.resume import OptimizerOptions
from tests.training.fits import TOKENIZER, checkpoint, fit
from tests.training.test_adversarial import GAN, PLAIN
from tests.training.test_resume import same


def warmup_cosine(optimizer: Optimizer, warmup: int, length: int) -> LRScheduler:
    made = WarmupCosine(optimizer, warmup)
    made.end_at(length)
    return made


def in_sequence(optimizer: Optimizer, milestone: int) -> LRScheduler:
    parts = [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    return lr_scheduler.SequentialLR(optimizer, parts, [milestone])


Schedule = Callable[[Optimizer], LRScheduler]
CHANGES: dict[str, tuple[Schedule, Schedule, str]] = {
    "length": (lambda o: warmup_cosine(o, 2, 10), lambda o: warmup_cosine(o, 2, 30), "max_steps 10 -> 30"),
    "warmup": (lambda o: warmup_cosine(o, 2, 10), lambda o: warmup_cosine(o, 4, 10), "warmup_steps 2 -> 4"),
    "gamma": (
        lambda o: lr_scheduler.StepLR(o, 2, 0.5),
        lambda o: lr_scheduler.StepLR(o, 2, 0.25),
        "gamma 0.5 -> 0.25",
    ),
    "nested": (lambda o: in_sequence(o, 3), lambda o: in_sequence(o, 4), "milestones.0 3 -> 4"),
    "kind": (lambda o: warmup_cosine(o, 2, 10), lambda o: lr_scheduler.StepLR(o, 2), "schedule WarmupCosine -> StepLR"),
}


def trained(schedule: Schedule, lr: float, steps: int) -> tuple[Optimizer, LRScheduler, OptimizerOptions, list[float]]:
    """An optimizer and a schedule after some steps; their options, and the learning rate of each step."""
    torch.manual_seed(0)
    layer, rates = nn.Linear(2, 2), []
    optimizer = FusedAdamW(layer.parameters(), lr)
    made = schedule(optimizer)
    options = OptimizerOptions.of(optimizer, made)
    for _ in range(steps):
        layer(torch.ones(1, 2)).sum().backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return optimizer, made, options, rates


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("lr", [0.01, 0.03])
def test_the_rate_is_that_of_a_run_that_always_had_the_new_options(name: str, lr: float) -> None:
    before, after, line = CHANGES[name]
    optimizer, schedule, options, _ = trained(before, 0.01, 5)
    _, _, _, rates = trained(after, lr, 9)
    resumed, going_on, new, _ = trained(after, lr, 0)
    changes = new.changes(options.values)
    assert line in changes
    assert (f"lr 0.01 -> {lr}" in changes) == (lr != 0.01)
    resumed.load_state_dict(optimizer.state_dict())
    new.act(resumed, going_on, schedule.last_epoch)
    same(resumed.state_dict()["state"], optimizer.state_dict()["state"])
    seen = []
    for _ in range(4):
        seen.append(resumed.param_groups[0]["lr"])
        going_on.step()
    assert seen == pytest.approx(rates[5:], rel=1e-12)


@pytest.mark.parametrize("name", CHANGES)
def test_equal_options_are_no_change(name: str) -> None:
    schedule = CHANGES[name][0]
    assert not trained(schedule, 0.01, 0)[2].changes(copy.deepcopy(trained(schedule, 0.01, 5)[2].values))


def test_the_state_of_another_optimizer_cannot_go_on() -> None:
    adam, sgd = (
        OptimizerOptions.of(made, lr_scheduler.StepLR(made, 1))
        for made in (FusedAdamW([nn.Parameter(torch.ones(2))]), SGD([nn.Parameter(torch.ones(2))]))
    )
    with pytest.raises(UserError, match=r"is SGD of 1 tensors, and the checkpoint has the state of FusedAdamW"):
        sgd.changes(adam.values)


@pytest.fixture(scope="module")
def four(digits, tmp_path_factory):
    """Four steps of a tokenizer with and without an average, and what goes on from its checkpoint."""
    folder = tmp_path_factory.mktemp("runs")
    options = [*TOKENIZER, *digits, "--data.global_batch_size=4", "--model.optimizer.lr=0.01"]
    for decay in (0, 0.9):
        fit(folder / str(decay), *options, "--trainer.max_steps=4", f"--ema.decay={decay}")

    def go_on(run, decay, *more):
        start = folder / str(decay) / "checkpoints" / "last.ckpt"
        return checkpoint(fit(run, *options, "--trainer.max_steps=6", f"--ckpt_path={start}", *more))

    return go_on


def test_other_options_act_and_are_said_in_one_line(four, tmp_path, capsys):
    plain = four(tmp_path / "plain", 0)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == "going on with other options than the checkpoint has: max_steps 4 -> 6"
    new = ["--model.optimizer.lr=1e-05", "--model.optimizer.weight_decay=0.5", "--model.optimizer.betas=[0.5,0.6]"]
    changed = four(tmp_path / "changed", 0, *new)
    (line,) = capsys.readouterr().err.strip().splitlines()
    said = ["lr 0.01 -> 1e-05", "weight_decay 0.01 -> 0.5", "betas (0.9, 0.98) -> (0.5, 0.6)", "max_steps 4 -> 6"]
    assert all(each in line for each in said), line
    assert any(not each.equal(changed["state_dict"][name]) for name, each in plain["state_dict"].items())
    groups = changed["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert all(tuple(group["betas"]) == (0.5, 0.6) and group["initial_lr"] == 1e-05 for group in groups)
    assert changed["lr_schedulers"][0]["last_epoch"] == 6


def test_the_weights_of_training_go_on_whatever_becomes_of_their_average(four, tmp_path, capsys):
    """Switched off, on, or never there: the same weights, bit for bit."""
    never = four(tmp_path / "never", 0)["state_dict"]
    capsys.readouterr()
    off = four(tmp_path / "off", 0.9)
    assert "ema.decay 0.9 -> 0.0" in capsys.readouterr().err
    assert "current_model_state" not in off
    same(never, off["state_dict"])
    on = four(tmp_path / "on", 0, "--ema.decay=0.9")
    assert "ema.decay 0.0 -> 0.9" in capsys.readouterr().err
    same(never, on["current_model_state"])
    assert on["averaging_state"]["n_averaged"] == 2
    same(never, four(tmp_path / "kept", 0.9, "--ema.decay=0.9")["current_model_state"])


def test_a_discriminators_options_act_too(digits, tmp_path, capsys):
    options = [*GAN, *digits, "--trainer.max_steps=6", "--checkpoint.every_n_train_steps=4"]
    fit(tmp_path / "run", *options)
    before = ["--ckpt_path", str(tmp_path / "run" / "checkpoints" / "last-before.ckpt")]
    fit(tmp_path / "plain", *options, *before)
    assert "other options" not in capsys.readouterr().err
    changed = checkpoint(fit(tmp_path / "changed", *options, *before, "--model.adversarial.lr=1e-06"))
    assert "other options of the discriminator than the checkpoint has: lr" in capsys.readouterr().err
    state = changed["callbacks"]["Adversary"]
    assert state["schedule"]["base_lrs"] == [1e-06] * len(state["schedule"]["base_lrs"])
    assert {each["step"].item() for each in state["optimizer"]["state"].values()} == {4}
    fit(tmp_path / "off", *PLAIN, *digits, "--trainer.max_steps=6", *before)
    assert "the state of Adversary, which this run does without" in capsys.readouterr().err
