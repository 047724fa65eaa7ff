"""The command line of a recipe: what counts, wherever it stands."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmgen.apps.cli.main import main
from mmgen.apps.cli.recipe_options import ordered

AR = "--config=experiments/digits_ar"


def parsed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The whole config that the parser makes of a command line."""
    capsys.readouterr()
    assert main(["fit", *words, "--print_config"]) == 0
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


@pytest.mark.parametrize(
    ("given", "wanted"),
    {
        "--a.x 1 --config f --a.y=2": "--config=f --a.x 1 --a.y=2",
        "--a.x 1 --a Part --b 2": "--a Part --a.x 1 --b 2",
        "--a.x=1 --a.init_args.y=2 --a.class_path=Part": "--a.class_path=Part --a.x=1 --a.init_args.y=2",
        "--a One --a.x 1 --a Two": "--a One --a.x 1 --a Two",
        "--c+=A --c.x 1 --c+ B --c.x 2": "--c+=A --c.x 1 --c+ B --c.x 2",
        "--a.x -1 stray -c f": "--config=f --a.x -1 stray",
        "--ab.x 1 --a 2 --flag": "--ab.x 1 --a 2 --flag",
        "--a.x 1 --a null --a.y 2": "--a.x 1 --a null --a.y 2",
        "--a.x 1 --a=null": "--a.x 1 --a=null",
    }.items(),
)
def test_order(given: str, wanted: str) -> None:
    assert ordered(given.split()) == wanted.split()


def test_an_option_before_the_recipe_counts(capsys: pytest.CaptureFixture[str]) -> None:
    config = parsed(capsys, "--trainer.max_steps=7", AR, "--ema.decay", "0.5", "--config", "configs/trainer/cpu.yaml")
    assert (config["trainer"]["max_steps"], config["trainer"]["accelerator"], config["ema"]["decay"]) == (7, "cpu", 0.5)


def test_another_class_has_its_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe's mask is causal, which `Masked` would take and cannot mean; the default optimizer decays weights,
    which that of torch does not.
    """
    options = ["--model.paradigm.steps=3", "--model.paradigm=Masked", "--model.optimizer=torch.optim.SGD"]
    model = parsed(capsys, AR, *options)["model"]["init_args"]
    assert (
        model["paradigm"]["init_args"]
        == parsed(capsys, AR, *options[:2])["model"]["init_args"]["paradigm"]["init_args"]
    )
    assert (model["paradigm"]["init_args"]["mask"], model["paradigm"]["init_args"]["steps"]) == ("bidirectional", 3)
    assert model["optimizer"]["init_args"]["weight_decay"] == 0


def test_another_class_in_a_later_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "masked.yaml").write_text("model: {init_args: {paradigm: {class_path: Masked, init_args: {steps: 3}}}}")
    paradigm = parsed(capsys, AR, f"--config={tmp_path / 'masked.yaml'}")["model"]["init_args"]["paradigm"]
    assert (paradigm["init_args"]["mask"], paradigm["init_args"]["steps"]) == ("bidirectional", 3)


def test_a_file_that_names_one_member_leaves_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = parsed(capsys, "--config=experiments/digits_mixture")["model"]["init_args"]["paradigm"]["init_args"]
    members = before["members"]
    text = {"model": {"init_args": {"paradigm": {"init_args": {"members": {"masked": {"init_args": {"steps": 3}}}}}}}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(text))
    files = ["--config=experiments/digits_mixture", f"--config={tmp_path / 'more.yaml'}"]
    after = parsed(capsys, *files)["model"]["init_args"]["paradigm"]["init_args"]
    members["masked"]["init_args"]["steps"] = 3
    assert after == before
    assert len(members) > 1


def test_a_part_in_a_file_of_its_own_is_read_strictly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "part.yaml").write_text("class_path: Masked\ninit_args: {steps: 3}\ninit_args: {steps: 4}\n")
    for part in (tmp_path / "part.yaml", "{class_path: Masked, class_path: Masked}"):
        assert main(["fit", AR, f"--model.paradigm={part}", "--print_config"]) == 2
        error = capfd.readouterr().err
        assert error.startswith("mmgen: error: ")
        assert error.count("\n") == 1


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "more.yaml").write_text("data: {init_args: {tokenizer: ~/runs/bsq}}")
    config = parsed(capsys, AR, "--config=~/more.yaml", "--run=~/run")
    assert config["data"]["init_args"]["tokenizer"] == f"{tmp_path}/runs/bsq"
    assert config["run"] == f"{tmp_path}/run"
