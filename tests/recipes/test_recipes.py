"""Every shipped recipe parses, dumps, trains and samples; every fragment of a recipe fits one."""

import re

import pytest
import yaml

from mmgen.apps.cli.main import main
from mmgen.data.build import build_source, source_kinds
from mmgen.sampling.texts import text_condition
from mmgen.store.recipes import recipes_root
from mmgen.store.store import Saved, load_generator, load_tokenizer
from tests.training.fits import fit

ROOT = recipes_root()
TOKENIZERS = sorted((ROOT / "tokenizers").glob("*/config.yaml"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*/config.yaml"))
FRAGMENTS = sorted((ROOT / "configs").glob("*/*.yaml"))
STEP = [
    "--trainer.max_steps=1",
    "--trainer.val_check_interval=1",
    "--trainer.limit_val_batches=1",
]
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
            section = {"class_path": name, "init_args": lists}
            file.write_text(yaml.safe_dump({"data": {"class_path": "DataModule", "init_args": {"source": section}}}))
            here = [f"--config={file}", *here]
        return here + (["--data.num_workers=0"] if section["init_args"].get("num_workers") else [])

    return options


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, data):
    """data section -> a tokenizer that yields what its own one would, as good as untrained."""
    made = {}

    def folder(section):
        name = section["init_args"]["tokenizer"].rpartition("/")[2]
        if name not in made:
            where = tmp_path_factory.mktemp("tokenizers") / name
            made[name] = _autoencoder(where) if name == "imagenet_kl" else _trained(where, data)
        return made[name]

    return folder


def _trained(run, data):
    recipe = ROOT / "tokenizers" / run.name / "config.yaml"
    lighter = LIGHTER.get(run.name, ["--model.tokenizer.width=8"])
    return fit(run, f"--config={recipe}", *data(data_of(recipe)), *STEP, *lighter)


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


@pytest.mark.parametrize("recipe", TOKENIZERS + EXPERIMENTS, ids=name_of)
def test_a_recipe_dumps(recipe, capsys):
    assert main(["fit", f"--config={recipe}", "--print_config"]) == 0
    dumped, given = yaml.safe_load(capsys.readouterr().out), yaml.safe_load(recipe.read_text())
    assert_holds(dumped, given)


@pytest.mark.parametrize("recipe", TOKENIZERS, ids=name_of)
def test_a_tokenizer_recipe_trains_and_loads(recipe, data, tmp_path):
    lighter = LIGHTER.get(recipe.parent.name, [])
    run = fit(tmp_path / "run", f"--config={recipe}", *data(data_of(recipe)), *STEP, *lighter)
    samples = next(build_source(Saved.read(run).config).samples("val").batches(2))["x"]
    tokenizer = load_tokenizer(run)
    tokens = tokenizer.encode(samples)
    assert tokenizer.decode(tokens).shape == samples.shape
    clips = tokenizer.spec.unit is not None  # of any length
    assert tokens.grid == (tokenizer.spec.with_frames(samples.shape[2]) if clips else tokenizer.spec).grid


@pytest.mark.parametrize("recipe", EXPERIMENTS, ids=name_of)
def test_an_experiment_trains_resumes_and_samples_in_every_mode(recipe, data, tokenizer, tmp_path):
    sections = data_of(recipe)["init_args"].get("members") or {"": data_of(recipe)}  # of a joint run, each member's
    options = [f"--config={recipe}", *STEP, *SMALL]
    for member, section in sections.items():
        own = [*data(section), f"--data.tokenizer={tokenizer(section)}"]
        options += [option.replace("--data.", f"--data.members.{member}.") if member else option for option in own]
    run = fit(tmp_path / "run", *options)
    fit(run, *options, "--trainer.max_steps=2", "--ckpt_path=last")
    for member in sections:
        loaded = load_generator(run / member)
        assert loaded.step == 2
        said = ["--text=one"] if text_condition(loaded) else []
        for mode in loaded.paradigm.modes():
            out, common = tmp_path / f"{member}{mode}", ["--mode", mode, "--num=1", "--steps=1", "--device=cpu"]
            assert main(["sample", str(run / member), *common, *said, "--out", str(out)]) == 0
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
    dumped, given = yaml.safe_load(capsys.readouterr().out), yaml.safe_load(fragment.read_text())
    assert_holds(dumped, given)
    assert dumped["model"]["init_args"]["paradigm"]["class_path"].endswith("Mixture")  # what it does not name stays


def assert_holds(whole, part):
    """Every value of `part` stands in `whole`; short class names have become paths, and the arguments of a default part
    its `init_args`.
    """
    if "init_args" in whole and not part.keys() & {"class_path", "init_args"}:
        whole = whole["init_args"]
    for key, value in part.items():
        if isinstance(value, dict):
            assert_holds(whole[key], value)
        elif key == "source":  # a class without arguments may stand by its name
            assert whole[key]["class_path"].rsplit(".", 1)[-1] == value
        elif key == "class_path":
            assert whole[key].rsplit(".", 1)[-1] == value.rsplit(".", 1)[-1]
        else:
            assert whole[key] == value
