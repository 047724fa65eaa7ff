"""`mmgen` itself, and the mistakes of `mmgen fit`: one line, exit code 2, no traceback, nothing written over."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmgen.apps.cli.main import COMMANDS, TRAINING, main
from mmgen.core.tokens import TokenSpec
from mmgen.data.sources import CachedTokens
from tests.training.fits import GENERATOR, QUICK, TOKENIZER, checkpoint, fake, fit

MIXTURE = Path("experiments/digits_mixture/config.yaml")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return fake(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("runs") / "bsq"
    return fit(folder, *TOKENIZER, *digits, "--data.global_batch_size=4", "--trainer.max_steps=2")


@pytest.fixture
def refused(digits, tokenizer, tmp_path, capfd):
    """Runs `mmgen fit` on a generator, expects a refusal, and returns its one line."""

    def refuse(*options, recipe=GENERATOR, run=tmp_path / "run", named=True):
        sizes = ["--data.global_batch_size=4", "--trainer.max_steps=2"]
        given = [*recipe, *digits, f"--data.tokenizer={tokenizer}", *sizes, *QUICK]
        assert main(["fit", *(given if named else []), *([f"--run={run}"] if named else []), *options]) == 2
        told = capfd.readouterr().err
        assert re.fullmatch(r"mmgen: error: [^\n]+\n", told), told
        assert not (tmp_path / "run").exists()
        return told

    return refuse


def test_help_names_every_command(capsys):
    assert main(["--help"]) == main([]) == 0
    told = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +\S", told, re.MULTILINE) for name in COMMANDS)


def test_light_commands_import_nothing_heavy():
    """Lightning alone takes seconds."""
    calls = "from mmgen.apps.cli.main import main; main(['--help']); main(['list']); main(['masks', '--help'])"
    code = f"import sys; {calls}; sys.exit(bool({{'lightning', 'diffusers'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in TRAINING])
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"usage: mmgen {command}" in capsys.readouterr().out


def test_an_interruption_is_no_error(monkeypatch, digits, tmp_path, capfd):
    from mmgen.training import TokenizerModule

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TokenizerModule, "training_step", interrupted)
    assert main(["fit", *TOKENIZER, *digits, *QUICK, f"--run={tmp_path / 'run'}"]) == 130
    assert capfd.readouterr().err.endswith("mmgen: interrupted\n")
    assert not (tmp_path / "run").exists()  # it had not taken a step


# Mistakes on the command line, and the words that the line must hold.
MISTAKES = {
    "unknown key": (["--model.optimiser=1"], ["'optimiser'", "GeneratorModule", "'optimizer'"]),
    "unknown key of a part": (["--model.backbone.sizze=tiny"], ["'sizze'", "model.backbone", "'size'"]),
    "unknown trainer key": (["--trainer.max_stepss=3"], ["--trainer.max_stepss", "'--trainer.max_steps'"]),
    "unknown class": (["--model.paradigm=Autoregresive"], ["'Autoregresive'", "model.paradigm", "'Autoregressive'"]),
    "unknown module": (
        ["--model.backbone=mmgen.model.backbone.Trnsformer"],
        ["Trnsformer", "model.backbone", "'Transformer'"],
    ),
    "a class that runs code": (["--model.paradigm=os.system"], ["'os.system'", "not allowed", "mmgen"]),
    "a class from elsewhere": (["--model.backbone=torch.nn.Linear"], ["'torch.nn.Linear'", "not allowed"]),
    "a callback from elsewhere": (["--trainer.callbacks+=subprocess.Popen"], ["'subprocess.Popen'", "not allowed"]),
    "a class of another kind": (["--model.paradigm=Transformer"], ["'Transformer'", "does not fit", "model.paradigm"]),
    "an abstract class": (["--model.paradigm=Paradigm"], ["'Paradigm'", "abstract"]),
    "a word for a number": (["--trainer.max_steps=many"], ["trainer.max_steps", "int", "'many'"]),
    "unknown size": (["--model.backbone.size=tinny"], ["'tinny'", "'tiny'"]),
    "unknown mask": (["--model.paradigm.members.masked.mask=bidirectionl"], ["'bidirectionl'", "'bidirectional'"]),
    "a seed of its own": (["--data.seed=3"], ["--seed_everything"]),
    "a random seed": (["--seed_everything=true"], ["seed_everything", "number"]),
    "no end": (["--trainer.max_steps=-1"], ["trainer.max_steps"]),
    "an accelerator that is not there": (["--trainer.accelerator=tpu"], ["the trainer", "torch_xla"]),
    "a batch that does not divide": (["--trainer.accumulate_grad_batches=3"], ["global_batch_size", "3"]),
    "no tokenizer": (["--data.tokenizer=null"], ["data.tokenizer"]),
    "a stray word": (["stray"], ["'stray'"]),
    "resuming nothing": (["--ckpt_path=last"], ["last.ckpt", "--ckpt_path"]),
    "a mask that shows the answer": (
        ["--model.paradigm=BlockDiffusion", "--model.paradigm.split=7", "--model.paradigm.mask=bidirectional"],
        ["'bidirectional'", "not final"],  # found at the first step, which undoes the run folder
    ),
    "options of another class": (["--model=TokenizerModule"], ["TokenizerModule has no option 'backbone' (at model)"]),
}


@pytest.mark.parametrize(("options", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(refused, options, words):
    told = refused(*options)
    assert all(word in told for word in words), told


# Mistakes in a recipe: what is replaced by what, and the words that the line must hold.
TYPING = {
    "a key twice": ("trainer:", "seed_everything: 1\ntrainer:", ["the key 'seed_everything' stands on line"]),
    "an octal number": ("size: tiny", "depth: 010", ["YAML reads 010 as 8"]),
    "unknown key": ("size: tiny", "sizee: tiny", ["'sizee'", "model.backbone", "'size'"]),
    "a section that is none": ("trainer:", "skip: false\ntrainer:", ["skip False is no section"]),
    "unknown section": ("trainer:", "trainr:", ["'trainr", "'trainer'"]),
    "a class that runs code": ("class_path: Mixture", "class_path: subprocess.Popen", ["subprocess", "not allowed"]),
    "a reference to nothing": ("batch_size: 64", "batch_size: ${data.nothing}", ["data.nothing", "recipe.yaml"]),
    "no YAML": ("trainer:", "trainer: [", ["recipe.yaml", "line"]),
}


@pytest.mark.parametrize(("old", "new", "words"), TYPING.values(), ids=TYPING)
def test_a_typing_error_in_a_recipe_is_told_in_one_line(refused, tmp_path, old, new, words):
    text = MIXTURE.read_text()
    assert old in text
    (tmp_path / "recipe.yaml").write_text(text.replace(old, new))
    told = refused(f"--config={tmp_path / 'recipe.yaml'}", f"--run={tmp_path / 'run'}", named=False)
    assert all(word in told for word in words), told


def test_a_missing_part(refused):
    assert "TokenizerModule needs tokenizer (at model)" in refused(
        "--config=experiments/digits_ar", "--model=TokenizerModule", named=False
    )


def test_a_missing_recipe_names_the_nearest(refused):
    assert "'experiments/digits_ar/config.yaml'" in refused("--config=experiments/digit_ar/config.yaml", named=False)


def test_no_recipe_at_all(refused):
    assert "--config" in refused(named=False)


def test_a_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file/run cannot be written" in refused(run=tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_existing_run_is_not_touched(refused, tokenizer):
    before = {path: path.read_bytes() for path in tokenizer.rglob("*") if path.is_file()}
    assert "--ckpt_path last resumes it" in refused(run=tokenizer)
    assert before == {path: path.read_bytes() for path in tokenizer.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "damage", [lambda data: data[:200], lambda data: data[: len(data) // 2], lambda data: b"no checkpoint"]
)
def test_a_damaged_checkpoint_is_not_resumed(refused, tokenizer, tmp_path, damage):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(damage((tokenizer / "checkpoints/last.ckpt").read_bytes()))
    assert "truncated or corrupt" in refused(f"--ckpt_path={broken}")


def test_a_checkpoint_of_another_model_is_not_resumed(refused, tokenizer):
    start = f"--ckpt_path={tokenizer / 'checkpoints/last.ckpt'}"
    assert "is of a model of raw samples, and this one is of tokens" in refused(start, "--trainer.max_steps=3")


def test_checkpoints_by_name_and_by_folder(digits, tmp_path, capfd):
    """`best` of the run, and a folder for its last one: the same figures as by the paths of their files."""
    options = [*TOKENIZER, *digits, "--data.global_batch_size=4"]
    run, other = (fit(tmp_path / f"{steps}", *options, f"--trainer.max_steps={steps}") for steps in (3, 1))
    shutil.copy(other / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt")
    figures = {}
    for name in ("best", "last", run, run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt"):
        assert main(["validate", f"--config={run / 'config.yaml'}", f"--ckpt_path={name}"]) == 0
        figures[name] = re.search(r"val/loss\W+([\d.]+)", capfd.readouterr().out)[1]
    best, last, by_folder, best_file, last_file = figures.values()
    assert (best, last, by_folder) == (best_file, last_file, last_file)
    assert best != last
    (run / "checkpoints" / "best.ckpt").unlink()
    assert main(["validate", f"--config={run / 'config.yaml'}", "--ckpt_path=best"]) == 2
    assert "there is no checkpoint" in capfd.readouterr().err


def test_a_relative_tokenizer_is_found_from_anywhere(digits, tokenizer, tmp_path, monkeypatch, capfd):
    """As `mmgen sample` finds it: from the working directory, then from each folder above the run."""
    shutil.copytree(tokenizer, tmp_path / "runs" / "bsq")
    recipes = {option: str(Path(option.partition("=")[2], "config.yaml").absolute()) for option in GENERATOR[:1]}
    options = [f"--config={path}" for path in recipes.values()] + GENERATOR[1:] + ["--data.tokenizer=runs/bsq"]
    options += [*digits, "--data.global_batch_size=4", *QUICK]
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *options, "--trainer.max_steps=1", "--run=runs/generator"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = f"--config={tmp_path}/runs/generator/config.yaml"
    assert main(["validate", config, "--trainer.limit_val_batches=1"]) == 0
    assert main(["fit", config, *QUICK, "--trainer.max_steps=2", "--ckpt_path=last"]) == 0
    resumed = checkpoint(tmp_path / "runs" / "generator")
    assert (resumed["global_step"], resumed["mmgen"]["tokenizer_path"]) == (2, "runs/bsq")


def test_a_command_that_is_elsewhere(capfd):
    assert main(["predict", "runs/x"]) == 2
    assert "sample draws from a generator" in capfd.readouterr().err


def test_the_weights_of_an_export_are_not_resumed(refused, tmp_path):
    line = refused(f"--ckpt_path={tmp_path / 'model.safetensors'}")
    assert "an export's weights" in line
    assert f"--config {tmp_path / 'config.yaml'}" in line


def test_overrides_reach_what_a_recipe_refers_to(digits, tmp_path):
    """Plain OmegaConf mode would resolve references while it reads the file, before the command line is heard."""
    recipe = yaml.safe_load(Path("tokenizers/digits_bsq/config.yaml").read_text())
    recipe["model"]["init_args"]["lr_scheduler"] = {"warmup_steps": "${data.init_args.global_batch_size}"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    options = [f"--config={tmp_path / 'recipe.yaml'}", "--model.tokenizer.width=8", *digits, "--trainer.max_steps=1"]
    run = fit(tmp_path / "run", *options, "--data.global_batch_size=4")
    saved = yaml.safe_load((run / "config.yaml").read_text())
    schedule = saved["model"]["init_args"]["lr_scheduler"]["init_args"]
    assert schedule["warmup_steps"] == saved["data"]["init_args"]["global_batch_size"] == 4


def test_a_saved_config_runs_again_and_gives_the_same(tokenizer, tmp_path):
    again = fit(tmp_path / "again", f"--config={tokenizer / 'config.yaml'}")
    assert (again / "config.yaml").read_text() == (tokenizer / "config.yaml").read_text()
    one, other = checkpoint(tokenizer)["state_dict"], checkpoint(again)["state_dict"]
    assert all(value.equal(other[name]) for name, value in one.items())


def test_a_run_is_named_after_its_recipe(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--config=tokenizers/digits_bsq", "--model.tokenizer.width=8", *digits, "--data.global_batch_size=4"]
    assert main(["fit", *options, *QUICK, "--trainer.max_steps=1"]) == 0
    assert (tmp_path / "runs/digits_bsq/checkpoints/last.ckpt").is_file()


def test_fast_dev_run_writes_nothing(digits, tmp_path):
    assert main(["fit", *TOKENIZER, *digits, *QUICK, f"--run={tmp_path / 'run'}", "--trainer.fast_dev_run=true"]) == 0
    assert not (tmp_path / "run").exists()


def test_the_tokenizer_of_other_data_falls_away_with_stored_tokens(tokenizer, tmp_path, capfd):
    """They know their own; that of the recipe would decode them wrongly."""
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"data": {"init_args": {"tokenizer": str(tokenizer)}}}))
    path = CachedTokens.make_fake(tmp_path / "tokens", spec=TokenSpec("bits", 8, (1, 3, 3)))["path"]
    stored = (f"--config={tmp_path / 'more.yaml'}", "--data.source=CachedTokens", f"--data.source.path={path}")
    options = ("--data.global_batch_size=4", "--trainer.max_steps=1", "--trainer.enable_progress_bar=false")
    run = fit(tmp_path / "run", *GENERATOR, *stored, *options)
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["tokenizer"] is None
    assert main(["fit", *GENERATOR, *QUICK, *stored, *options, f"--data.tokenizer={tokenizer}"]) == 2
    assert "is another one: leave data.tokenizer out" in capfd.readouterr().err
