"""Every shipped recipe parses, dumps, trains and samples; every fragment of a recipe fits one."""

import re

import pytest
import yaml

from mmgen.cli.main import main
from mmgen.recipes import recipes_root
from mmgen.store import load_generator, load_tokenizer
from tests.lit.fits import TOKENIZER, fake, fit

ROOT = recipes_root()
TOKENIZERS = sorted((ROOT / "tokenizers").glob("*/config.yaml"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*/config.yaml"))
FRAGMENTS = sorted((ROOT / "configs").glob("*/*.yaml"))
STEP = [
    "--data.global_batch_size=4",
    "--trainer.max_steps=1",
    "--trainer.val_check_interval=1",
    "--trainer.limit_val_batches=1",
]
SMALL = ["--model.backbone.dim=16", "--model.backbone.heads=2", "--model.backbone.depth=1"]


def name_of(path):
    return str(path.relative_to(ROOT).with_suffix("")).removesuffix("/config")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return fake(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, digits):
    return fit(tmp_path_factory.mktemp("runs") / "bsq", *TOKENIZER, *digits, *STEP)


def test_there_are_recipes():
    assert {"digits_vq", "digits_bsq"} <= {path.parent.name for path in TOKENIZERS}
    assert {"digits_ar", "digits_maskgit", "digits_block_diffusion", "digits_mixture"} <= {
        path.parent.name for path in EXPERIMENTS
    }


@pytest.mark.parametrize("recipe", TOKENIZERS + EXPERIMENTS, ids=name_of)
def test_a_recipe_reads_well(recipe):
    """A first line that `mmgen list` shows, and nothing but what differs."""
    lines = recipe.read_text().splitlines()
    assert re.fullmatch(r"# .{20,}\.", lines[0])
    assert 20 <= len(lines) <= 60


@pytest.mark.parametrize("recipe", TOKENIZERS + EXPERIMENTS, ids=name_of)
def test_a_recipe_dumps(recipe, capsys):
    assert main(["fit", f"--config={recipe}", "--print_config"]) == 0
    dumped, given = yaml.safe_load(capsys.readouterr().out), yaml.safe_load(recipe.read_text())
    assert_holds(dumped, given)


@pytest.mark.parametrize("recipe", TOKENIZERS, ids=name_of)
def test_a_tokenizer_recipe_trains_and_loads(recipe, digits, tmp_path):
    run = fit(tmp_path / "run", f"--config={recipe}", *digits, *STEP)
    x = load_tokenizer(run).decode(load_tokenizer(run).encode(_digits(digits)))
    assert x.shape == (4, 1, 28, 28)


@pytest.mark.parametrize("recipe", EXPERIMENTS, ids=name_of)
def test_an_experiment_trains_and_samples_in_every_mode(recipe, digits, tokenizer, tmp_path):
    run = fit(tmp_path / "run", f"--config={recipe}", *digits, *STEP, *SMALL, f"--data.tokenizer={tokenizer}")
    for mode in load_generator(run).paradigm.modes():
        out = tmp_path / mode
        assert (
            main(["sample", str(run), "--mode", mode, "--num=1", "--steps=1", "--device=cpu", "--out", str(out)]) == 0
        )
        assert (out / "grid.png").is_file()


def test_the_digit_generators_share_one_budget():
    """Their cards are to compare: same tokenizer, backbone, steps, batch and optimiser."""
    read = [yaml.safe_load(path.read_text()) for path in EXPERIMENTS if path.parent.name.startswith("digits_")]
    for recipe in read:
        recipe["model"]["init_args"].pop("paradigm")
    assert all(recipe == read[0] for recipe in read)


def test_the_digit_tokenizers_differ_by_their_quantizer():
    one, other = (
        yaml.safe_load(path.read_text()) for path in TOKENIZERS if path.parent.name in ("digits_bsq", "digits_vq")
    )
    kinds = {
        recipe["model"]["init_args"]["tokenizer"]["init_args"].pop("quantizer")["class_path"] for recipe in (one, other)
    }
    assert kinds == {"BSQ", "VQ"}
    assert one == other


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=name_of)
def test_a_fragment_goes_with_a_recipe(fragment, capsys):
    recipe = ROOT / "experiments/digits_mixture/config.yaml"
    assert main(["fit", f"--config={recipe}", f"--config={fragment}", "--print_config"]) == 0
    dumped, given = yaml.safe_load(capsys.readouterr().out), yaml.safe_load(fragment.read_text())
    assert_holds(dumped, given)
    assert dumped["model"]["init_args"]["paradigm"]["class_path"].endswith("Mixture")  # what it does not name stays


def assert_holds(whole, part):
    """Every value of `part` stands in `whole`; short class names have become paths."""
    for key, value in part.items():
        if isinstance(value, dict):
            assert_holds(whole[key], value)
        elif key == "class_path":
            assert whole[key].rsplit(".", 1)[-1] == value.rsplit(".", 1)[-1]
        else:
            assert whole[key] == value


def _digits(options):
    from mmgen.data.sources import DigitsSource

    return next(DigitsSource(options[0].partition("=")[2]).samples("val").batches(4))["x"]
