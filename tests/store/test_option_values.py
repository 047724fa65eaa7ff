"""A value that means nothing is refused by the name of its option, in recipes, in runs and in every command."""

import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml

from mmgen.apps.cli.main import COMMANDS, TRAINING, command_module, main
from mmgen.core.command_options import update_modality_options
from mmgen.core.errors import UserError
from mmgen.store.option_values import RANGES, Range, check_values
from mmgen.store.store import load_tokenizer
from tests.tiny_runs import tokenizer_run
from tests.training.fits import QUICK, TOKENIZER, fake


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return fake(tmp_path_factory.mktemp("digits"))


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "text"),
    [
        (Range(1), (1, 1e30), (0, -1, float("inf"), float("nan")), "be at least 1"),
        (Range(0, above=True), (1e-9, 2), (0.0, -1e-9), "be above 0"),
        (Range(0, 1, below=True), (0, 0.999), (1, -0.1), "lie in [0, 1)"),
        (Range(0, 1), (0, 1), (1.1, -0.1, float("nan")), "lie in [0, 1]"),
        (Range(1, also=-1), (-1, 3), (0, -2), "be at least 1, or -1"),
        (Range(0, 2**32 - 1), (0, 2**32 - 1), (2**32, -1), "lie in [0, 4294967295]"),
    ],
)
def test_ranges(limits: Range, inside: tuple[float, ...], outside: tuple[float, ...], text: str) -> None:
    assert all(number in limits for number in inside)
    assert not any(number in limits for number in outside)
    assert str(limits) == text


# Options of `mmgen fit`, each accepted without a word by the parser or the part that gets it.
FIT = {
    "--model.optimizer.lr=-1": "model.optimizer.lr -1 must be above 0",
    "--model.optimizer.lr=.nan": "model.optimizer.lr nan must be above 0",
    "--model.optimizer.weight_decay=-1": "model.optimizer.weight_decay -1 must be at least 0",
    "--model.optimizer.betas=[1.0,0.9]": "model.optimizer.betas 1 must lie in [0, 1)",
    "--model.optimizer=torch.optim.SGD --model.optimizer.lr=0": "model.optimizer.lr 0 must be above 0",
    "--model.lr_scheduler.warmup_steps=-5": "model.lr_scheduler.warmup_steps -5 must be at least 0",
    "--model.l1=-1": "model.l1 -1 must be at least 0",
    "--model.tokenizer.quantizer.temperature=.nan": "model.tokenizer.quantizer.temperature nan must be at least 0",
    "--model.l2=null": "model.l2 null means nothing: leave it out for 1.0",
    "--data.global_batch_size=0": "data.global_batch_size 0 must be at least 1",
    "--data.num_workers=-1": "data.num_workers -1 must be at least 0",
    "--data.num_workers=null": "data.num_workers null means nothing: leave it out for 0",
    "--seed_everything=-1": "seed_everything -1 must lie in [0, 4294967295]",
    "--trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches 0 must be at least 1",
    "--trainer.accumulate_grad_batches=-1": "trainer.accumulate_grad_batches -1 must be at least 1",
    "--trainer.log_every_n_steps=0": "trainer.log_every_n_steps 0 must be at least 1",
    "--trainer.log_every_n_steps=null": "trainer.log_every_n_steps null means nothing",
    "--trainer.val_check_interval=0": "trainer.val_check_interval 0 must be above 0",
    "--trainer.val_check_interval=null": "trainer.val_check_interval null means nothing",
    "--trainer.gradient_clip_val=-1": "trainer.gradient_clip_val -1 must be at least 0",
    "--trainer.gradient_clip_val=.nan": "trainer.gradient_clip_val nan must be at least 0",
    "--trainer.max_steps=0": "trainer.max_steps 0 must be at least 1, or -1",
    "--trainer.limit_train_batches=0": "trainer.limit_train_batches 0 must be above 0",
    "--checkpoint.every_n_train_steps=0": "checkpoint.every_n_train_steps 0 must be at least 1",
    "--samples.count=-1": "samples.count -1 must be at least 0",
    "--samples.steps=0": "samples.steps 0 must be at least 1",
    "--samples.guidance=.inf": "samples.guidance inf must be at least 0",
    "--ema.decay=1": "ema.decay 1.0 must lie in [0, 1)",
}


@pytest.mark.parametrize(("options", "message"), FIT.items(), ids=FIT.keys())
def test_recipes(
    options: str, message: str, digits: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick = [each for each in QUICK if each.partition("=")[0] not in options]
    assert main(["fit", *TOKENIZER, *quick, *digits, f"--run={tmp_path / 'run'}", *options.split()]) == 2
    (line,) = [each for each in capfd.readouterr().err.splitlines() if "rror" in each]
    assert line.startswith(f"mmgen: error: {message}")
    assert not (tmp_path / "run").exists()


NULLS = {
    "model": "missing: model",
    "data": "missing: data",
    "ema": "ema null means nothing",
    "matmul_precision": "matmul_precision null means nothing",
    "model.init_args.optimizer": "model.optimizer null means nothing",
    "model.init_args.tokenizer.init_args.quantizer.init_args.temperature": "model.tokenizer.quantizer.temperature null",
    "trainer.fast_dev_run": "trainer.fast_dev_run null means nothing: leave it out for False",
    "checkpoint.best": "checkpoint.best null means nothing: leave it out for True",
    "skip.limit": "skip.limit null means nothing: leave it out for 10",
}


@pytest.mark.parametrize(("place", "message"), NULLS.items())
def test_null_in_a_recipe(place: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Which the parser takes for any option, whatever its type."""
    recipe = section = yaml.safe_load(Path("tokenizers/digits_bsq/config.yaml").read_text())
    *names, last = place.split(".")
    for name in names:
        section = section.setdefault(name, {})
    section[last] = None
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["fit", f"--config={tmp_path / 'recipe.yaml'}", f"--run={tmp_path / 'run'}"]) == 2
    assert f"mmgen: error: {message}" in capfd.readouterr().err


def numbers(command: str) -> list[str]:
    function: Callable[..., Any] = update_modality_options(command_module(command).run)
    types = typing.get_type_hints(function)
    return [
        name
        for name in inspect.signature(function).parameters
        if {int, float} & {types[name], *typing.get_args(types[name])}
    ]


COMMAND_OPTIONS = [(command, name) for command in COMMANDS if command not in TRAINING for name in numbers(command)]


@pytest.mark.parametrize(("command", "name"), COMMAND_OPTIONS, ids=map("-".join, COMMAND_OPTIONS))
def test_no_command_takes_a_negative_number(command: str, name: str) -> None:
    with pytest.raises(UserError, match=rf"^--{name} -7 must "):
        check_values({name: -7}, update_modality_options(command_module(command).run), "--")


@pytest.mark.parametrize("line", ["tokenize nowhere --out new --shard_size 0", "bench --runs 0", "plan x --mfu 0"])
def test_commands_look_at_their_options_first(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    option, value = line.split()[-2:]
    assert main(line.split()) == 2
    assert capfd.readouterr().err.startswith(f"mmgen: error: {option} {value}")


def test_a_run_of_others(tmp_path: Path) -> None:
    """Its config is read as a recipe is."""
    run = tokenizer_run(tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["tokenizer"]["init_args"]["width"] = -8
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"config\.yaml: tokenizer\.width -8 must be at least 1$"):
        load_tokenizer(run)


def test_members_and_lists() -> None:
    """Parts that a dictionary names, and dataclasses, are looked at like others."""
    from mmgen.training import JointModule

    member = {"paradigm": {"class_path": "x.Y", "init_args": {}}, "weight": -1.0}
    with pytest.raises(UserError, match=r"^members\.image\.weight -1 must be at least 0$"):
        check_values({"members": {"image": member}}, JointModule)
    with pytest.raises(UserError, match=r"^members\.image\.positions null means nothing"):
        check_values({"members": {"image": member | {"positions": None, "weight": 1.0}}}, JointModule)
    with pytest.raises(UserError, match=r"^callbacks\.steps 0 must be at least 1$"):
        check_values({"callbacks": [{"class_path": "x.Y", "init_args": {"steps": 0}}]}, L.Trainer)


def test_parts_of_others_mean_something_else() -> None:
    """By the same names, as the dimension of a strategy's scatter; schedules of torch begin with last_epoch -1."""
    strategy = {"class_path": "lightning.pytorch.strategies.DDPStrategy", "init_args": {"dim": 0}}
    schedule = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"last_epoch": -1, "gamma": 0.5}}
    check_values({"strategy": strategy, "num_sanity_val_steps": -1}, L.Trainer)
    check_values({"lr_scheduler": schedule}, None)
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": -1.0}}
    with pytest.raises(UserError, match=r"^optimizer\.lr -1 must be above 0$"):
        check_values({"optimizer": optimizer}, None)


def test_the_table_names_options_that_exist() -> None:
    """So that a renamed option does not lose its range."""
    text = "".join(path.read_text() for path in Path("mmgen").rglob("*.py"))
    trainer = inspect.signature(L.Trainer).parameters
    assert not [name for name in RANGES if name not in trainer and f"{name}:" not in text]
