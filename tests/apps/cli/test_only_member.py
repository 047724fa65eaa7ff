"""`mmgen fit --only MEMBER`: what one member of a joint recipe would be as a recipe of its own, and that it trains."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.apps.cli.only_member import only
from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.data.sources import CachedTokens
from mmgen.store.store import load_generator
from mmgen.training import GeneratorModule
from mmgen.training.joint_module import Member
from tests.training.fits import QUICK, checkpoint, fit
from tests.training.test_resume import same

RECIPE = """
seed_everything: 3
model:
  class_path: JointModule
  init_args:
    backbone: &narrow {class_path: Transformer, init_args: {dim: 16, depth: 1, heads: 2, rope: [2, 1, 1]}}
    members:
      image:
        paradigm:
          class_path: Masked
          init_args: {steps: "${data.init_args.members.image.init_args.global_batch_size}"}
        weight: 0.5
      codes:
        paradigm: &codes {class_path: MaskedCodebooks, init_args: {steps: [2, 1]}}
        positions: none
        conditions: {class: {class_path: ClassLabel, init_args: {dropout: 0.25}}}
    optimizer: {lr: 1e-2}
    lr_scheduler: {warmup_steps: "${data.init_args.members.codes.init_args.global_batch_size}"}
data:
  class_path: JointData
  init_args:
    seed: 3
    members:
      image:
        class_path: DataModule
        init_args: {source: {class_path: CachedTokens, init_args: {path: IMAGES}}, global_batch_size: 3}
      codes:
        class_path: DataModule
        init_args:
          source: {class_path: CachedTokens, init_args: {path: CODES}}
          global_batch_size: "${...image.init_args.global_batch_size}"
trainer:
  max_steps: 4
  val_check_interval: ${model.init_args.members.image.paradigm.init_args.steps}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fake tokens of images and of codes."""
    folder = tmp_path_factory.mktemp("mixed")
    CachedTokens.make_fake(folder / "images", 20, TokenSpec("bits", 4, (1, 3, 3)), classes=3)
    codes = TokenSpec("residual", 8, (5, 1, 1), levels=2, modality="speech", rate=10.0)
    CachedTokens.make_fake(folder / "codes", 15, codes, classes=2)
    text = RECIPE.replace("IMAGES", str(folder / "images")).replace("CODES", str(folder / "codes"))
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


def parsed(capsys: pytest.CaptureFixture[str], *words: Any) -> dict[str, Any]:
    """The whole config that the parser makes of a command line."""
    capsys.readouterr()
    assert main(["fit", *map(str, words), "--print_config"]) == 0
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


def test_a_member_becomes_a_recipe_of_its_own(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """References lead to where values went; what belongs to another member is put in."""
    config = parsed(capsys, f"--config={recipe}", "--only", "codes")
    model, data = config["model"], config["data"]
    assert (model["class_path"], data["class_path"]) == ("mmgen.training.GeneratorModule", "mmgen.data.DataModule")
    assert model["init_args"]["paradigm"]["init_args"]["steps"] == [2, 1]
    dropout = model["init_args"]["conditions"]["class"]["init_args"]["dropout"]
    assert (model["init_args"]["positions"], dropout) == ("none", 0.25)
    assert model["init_args"]["optimizer"]["init_args"]["lr"] == 0.01
    assert model["init_args"]["lr_scheduler"]["init_args"]["warmup_steps"] == 3
    assert model["init_args"]["backbone"]["init_args"]["dim"] == 16
    assert "weight" not in model["init_args"]
    assert data["init_args"]["global_batch_size"] == 3
    assert data["init_args"]["source"]["init_args"]["path"].endswith("codes")
    assert config["trainer"]["val_check_interval"] == 3


def test_the_command_line_and_more_files_count_as_ever(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A later file may say a part of a member; an option says what the recipe of the member alone would."""
    more = {"model": {"init_args": {"members": {"image": {"paradigm": {"init_args": {"schedule": "linear"}}}}}}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(more))
    (tmp_path / "sizes.yaml").write_text("trainer: {max_steps: 7}\n")
    files = ["--config", recipe, f"--config={tmp_path / 'more.yaml'}", f"--config={tmp_path / 'sizes.yaml'}"]
    config = parsed(capsys, *files, "--only=image", "--data.init_args.global_batch_size=6", "--model.optimizer.lr=0.5")
    arguments = config["model"]["init_args"]
    assert arguments["paradigm"]["init_args"]["schedule"] == "linear"
    assert arguments["paradigm"]["init_args"]["steps"] == 6  # the reference is still one
    assert arguments["optimizer"]["init_args"]["lr"] == 0.5
    assert arguments["backbone"]["init_args"]["dim"] == 16
    assert config["trainer"]["max_steps"] == 7


@pytest.mark.e2e
def test_a_run_alone_is_the_joint_run_with_that_member_only(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, in a folder of its own name, and it goes on as any other."""
    monkeypatch.chdir(tmp_path)
    options = [*QUICK, f"--config={recipe}", "--trainer.val_check_interval=2"]
    assert main(["fit", *options, "--only", "image"]) == 0
    alone = Path("runs") / f"{recipe.parent.name}-image"
    config = yaml.safe_load(recipe.read_text())
    for section in ("model", "data"):
        del config[section]["init_args"]["members"]["codes"]
    config["model"]["init_args"]["lr_scheduler"] = {"warmup_steps": 3}
    Path("single.yaml").write_text(yaml.safe_dump(config))
    joint = fit(tmp_path / "joint", "--config=single.yaml", "--trainer.val_check_interval=2")
    state = {key.removeprefix("members.image."): value for key, value in checkpoint(joint)["state_dict"].items()}
    same(dict(checkpoint(alone)["state_dict"]), state)
    assert "only" not in yaml.safe_load((alone / "config.yaml").read_text())
    assert load_generator(alone).step == 4
    more = ["--trainer.max_steps=5", "--ckpt_path=last"]
    assert main(["fit", *QUICK, f"--config={alone / 'config.yaml'}", f"--run={alone}", *more]) == 0
    assert load_generator(alone).step == 5
    assert main(["fit", *options, "--only=image", *more, "--trainer.max_steps=6"]) == 0  # as the command began it
    assert load_generator(alone).step == 6
    assert main(["fit", *options, "--only=image"]) == 2  # nothing is overwritten


def test_folders_are_named_after_recipe_and_member(recipe: Path, tmp_path: Path) -> None:
    args = ["--config", str(recipe)]
    assert only("fit", args, [recipe]) == args
    assert only("fit", [*args, "--only=codes"], [recipe])[0] == f"--run=runs/{recipe.parent.name}-codes"
    run = tmp_path / "mine" / "config.yaml"
    (run.parent / "checkpoints").mkdir(parents=True)
    run.write_text(recipe.read_text())
    torch.save({}, run.parent / "checkpoints" / "last.ckpt")
    assert only("fit", ["--config", str(run), "--only=codes"], [run])[0] == f"--run={tmp_path / 'mine-codes'}"


def test_defaults_of_a_member_are_those_of_a_run_alone() -> None:
    """Else the two would not be equal where a recipe says nothing."""
    alone = inspect.signature(GeneratorModule).parameters
    for field in dataclasses.fields(Member):
        if field.name != "weight":
            default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            assert alone[field.name].default == default, field.name


def test_mistakes_are_told_in_one_line(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "said.yaml").write_text("only: codes\n")
    given = f"--config={recipe}"
    mistakes = {
        "no member 'code': name one of image, codes; did you mean 'codes'?": ["fit", given, "--only=code"],
        "is for recipes of several modalities": ["fit", "--config=experiments/digits_ar", "--only=image"],
        "the command line has no model.members": ["fit", "--only=image"],
        "is for mmgen fit": ["validate", given, "--only=image"],
        "--only needs the name of a member": ["fit", given, "--only"],
        "is said on the command line": ["fit", given, f"--config={tmp_path / 'said.yaml'}"],
    }
    for told, words in mistakes.items():
        capsys.readouterr()
        assert main(words) == 2
        found = capsys.readouterr().err
        assert told in found
        assert found.count("\n") == 1


def test_a_value_of_nobody_is_told(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace("${...image.init_args.global", "${data.init_args.members.image.size.global")
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(
        UserError, match=r"codes\.init_args\.global_batch_size refers to data\.init_args\.members\.image\.size"
    ):
        only("fit", [f"--config={tmp_path / 'wrong.yaml'}", "--only=codes"], [tmp_path / "wrong.yaml"])
