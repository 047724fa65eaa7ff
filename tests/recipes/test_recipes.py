"""Every shipped recipe parses, dumps, trains and samples; every fragment of a recipe fits one."""

import functools
import re

import pytest
import yaml

from mmgen.apps.cli.main import main
from mmgen.data.build import build_source, source_kinds
from mmgen.sampling.samples import text_condition
from mmgen.store.recipes import recipes_root
from mmgen.store.store import Saved, load_generator, load_tokenizer
from tests.training.fits import QUICK, fit

ROOT = recipes_root()
TOKENIZERS = sorted((ROOT / "tokenizers").glob("*/config.yaml"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*/config.yaml"))
FRAGMENTS = sorted((ROOT / "configs").glob("*/*.yaml"))
STEP = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--trainer.limit_val_batches=1"]
SMALL = ["--model.backbone.dim=16", "--model.backbone.heads=2", "--model.backbone.depth=1"]


def data_of(recipe):
    return yaml.safe_load(recipe.read_text())["data"]


def name_of(path):
    return str(path.relative_to(ROOT).with_suffix("")).removesuffix("/config")


# What a recipe of full size needs to pass in seconds, on data of its own kind.
_TINY = ("dim=16", "heads=2", "depth=1")
LIGHTER = {
    "ucf101_bsq_vit": [
        *(f"--model.tokenizer.{part}.{option}" for part in ("encoder", "decoder") for option in _TINY),
        "--data.global_batch_size=2", "--data.source.frames=3", "--model.tokenizer.frames=3",
    ],
    "ucf101_kl": ["--model.tokenizer.width=8", "--data.global_batch_size=2"],
    "moving_digits_bsq": ["--model.tokenizer.width=8"],
    "moving_digits_kl": ["--model.tokenizer.width=8"],
    "atari_bsq": ["--model.tokenizer.width=8"],
    "imagenet_vqgan": [
        "--model.perceptual=null", "--model.adversarial.start=0", "--model.tokenizer.width=32",
        "--model.tokenizer.quantizer.codes=16", "--trainer.precision=32-true", "--data.global_batch_size=2",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """data section -> options that put a few fake samples, of the real format, in place of its data."""
    made = {}

    def options(section):
        source = section["init_args"]["source"]
        name, given = (source, {}) if isinstance(source, str) else (source["class_path"], source["init_args"])
        kind = source_kinds()[name]
        if kind not in made:
            made[kind] = kind.make_fake(tmp_path_factory.mktemp(name))
        here = ["--data.global_batch_size=4", *(f"--data.source.{key}={value}" for key, value in made[kind].items())]
        if lists := {key: None for key in given if key.endswith("_list")}:  # the parser reads no null this deep
            file = tmp_path_factory.mktemp("lists") / "config.yaml"
            empty = {"source": {"class_path": name, "init_args": lists}}
            file.write_text(yaml.safe_dump({"data": {"class_path": "DataModule", "init_args": empty}}))
            here = [f"--config={file}", *here]
        return here + (["--data.num_workers=0"] if section["init_args"].get("num_workers") else [])

    return options


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, data):
    """Name of a tokenizer -> the run of its recipe after one step, and the options that were put over the recipe."""
    read = {each.rpartition("/")[2] for recipe in EXPERIMENTS for each in tokenizers_of(data_of(recipe))}

    @functools.cache
    def trained(name):
        run, recipe = tmp_path_factory.mktemp("tokenizers") / name, ROOT / "tokenizers" / name / "config.yaml"
        if name == "imagenet_kl":
            return _autoencoder(run), []
        lighter = LIGHTER.get(name, ["--model.tokenizer.width=8"] if name in read else [])
        options = [*data(data_of(recipe)), *STEP, *lighter]
        return fit(run, f"--config={recipe}", *options), options

    return trained


def tokenizers_of(section):
    """The paths of the tokenizers that a data section names."""
    members = section["init_args"].get("members") or {"": section}
    return [each["init_args"]["tokenizer"] for each in members.values()]


def _autoencoder(out):
    """A small one of diffusers with the downsampling and channels of Stable Diffusion's."""
    from diffusers import AutoencoderKL

    blocks = {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "layers_per_block": 1, "latent_channels": 4}
    down, up = ["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4
    AutoencoderKL(**blocks, down_block_types=down, up_block_types=up).save_pretrained(out.parent / "vae")
    assert main(["export", str(out.parent / "vae"), f"--out={out}", "--image_size=256", "--patch=2"]) == 0
    return out


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


@pytest.mark.parametrize("recipe", TOKENIZERS, ids=name_of)
def test_a_tokenizer_recipe_trains_and_loads(recipe, tokenizer):
    run, options = tokenizer(recipe.parent.name)
    assert_followed(run, recipe, options)
    samples = next(build_source(Saved.read(run).config).samples("val").batches(2))["x"]
    loaded = load_tokenizer(run)
    tokens = loaded.encode(samples)
    assert loaded.decode(tokens).shape == samples.shape
    clips = loaded.spec.unit is not None  # of any length
    assert tokens.grid == (loaded.spec.with_frames(samples.shape[2]) if clips else loaded.spec).grid


@pytest.mark.parametrize("recipe", EXPERIMENTS, ids=name_of)
def test_an_experiment_trains_and_samples_in_every_mode(recipe, data, tokenizer, tmp_path):
    sections = data_of(recipe)["init_args"].get("members") or {"": data_of(recipe)}  # of a joint run, each member's
    options = [*STEP, *SMALL]
    for member, section in sections.items():
        path, _ = tokenizer(section["init_args"]["tokenizer"].rpartition("/")[2])
        own = [*data(section), f"--data.tokenizer={path}"]
        options += [option.replace("--data.", f"--data.members.{member}.") if member else option for option in own]
    run = fit(tmp_path / "run", f"--config={recipe}", *options)
    assert_followed(run, recipe, options)
    for member in sections:
        loaded = load_generator(run / member)
        assert loaded.step == 1
        text = ["--text=one"] if text_condition(loaded) else []
        for mode in loaded.paradigm.modes():
            out, common = tmp_path / f"{member}{mode}", ["--mode", mode, "--num=1", "--steps=1", "--device=cpu"]
            assert main(["sample", str(run / member), *common, *text, "--out", str(out)]) == 0
            assert (out / ("sheet.png" if loaded.spec.modality == "video" else "grid.png")).is_file()


def test_the_digit_generators_share_one_budget():
    """Their cards are to compare: same backbone, steps, batch and optimiser."""
    read = [yaml.safe_load(path.read_text()) for path in EXPERIMENTS if path.parent.name.startswith("digits_")]
    for recipe in read:
        recipe["model"]["init_args"].pop("paradigm")
        recipe["data"]["init_args"].pop("tokenizer")  # continuous and discrete tokens
    assert all(recipe == read[0] for recipe in read)


def test_complete_and_masked_teacher_forcing_differ_by_the_history_at_equal_compute():
    """A row of one copy is half as long as one of two."""
    complete, masked = (
        yaml.safe_load((ROOT / "experiments" / name / "config.yaml").read_text())
        for name in ("moving_digits_magi", "moving_digits_masked")
    )
    histories = [each["model"]["init_args"]["paradigm"]["init_args"].pop("history") for each in (complete, masked)]
    assert histories == ["complete", "corrupted"]
    steps = [each["trainer"].pop("max_steps") for each in (complete, masked)]
    assert steps[1] == 2 * steps[0]
    for each in (complete, masked):
        each["trainer"].pop("val_check_interval")
    assert complete == masked


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
    dumped = yaml.safe_load(capsys.readouterr().out)
    assert_holds(dumped, yaml.safe_load(fragment.read_text()))
    assert dumped["model"]["init_args"]["paradigm"]["class_path"].endswith("Mixture")  # what it does not name stays


def assert_followed(run, recipe, options):
    """The config of a run holds every value of its recipe that no option replaced."""
    replaced = {option.removeprefix("--").split("=")[0] for option in (*QUICK, *options)}
    assert_holds(yaml.safe_load((run / "config.yaml").read_text()), yaml.safe_load(recipe.read_text()), replaced)


def assert_holds(whole, part, replaced=frozenset(), at=""):
    """Every value of `part` is in `whole`, but for dotted keys in `replaced`; short class names have become paths, and
    the arguments of a default part its `init_args`.
    """
    if "init_args" in whole and not part.keys() & {"class_path", "init_args"}:
        whole = whole["init_args"]
    for key, value in part.items():
        place = at if key == "init_args" else f"{at}.{key}".removeprefix(".")
        if place in replaced or key.endswith("_list"):  # a list is replaced by a second config
            continue
        if isinstance(value, dict):
            assert_holds(whole[key], value, replaced, place)
        elif key == "source":  # a class without arguments may stand by its name
            assert whole[key]["class_path"].rsplit(".", 1)[-1] == value
        elif key == "class_path":
            assert whole[key].rsplit(".", 1)[-1] == value.rsplit(".", 1)[-1]
        else:
            assert whole[key] == value
