import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout, prefix
from mmgen.core.mask import Mask
from mmgen.core.masks import get_mask
from mmgen.store.store import Saved, load_generator, load_tokenizer, save_export, weights_hash
from tests.tiny_runs import AR, CLASS_NAMES, TOKENIZER, generator_run, prefixed, tokenizer_run, write_run
from tests.worlds import condition_of

IMAGES = torch.linspace(-1, 1, 2 * 64).view(2, 1, 8, 8)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return tokenizer_run(tmp_path / "runs" / "tok")


@pytest.fixture
def generator(tmp_path: Path, tokenizer: Path) -> Path:
    return generator_run(tmp_path / "runs" / "gen", tokenizer)


def features(module: Any) -> torch.Tensor:
    """What a generator makes of fixed tokens and classes."""
    tokens = torch.arange(2 * 16).view(2, 16) % 16
    layout = prefix(1) + grid_layout((1, 4, 4))
    mask: Mask = get_mask("causal")
    return module(tokens, layout, mask, condition_of(module, torch.tensor([0, 2]))).detach()


def change(run: Path, edit: Any) -> None:
    """Rewrite a run's checkpoint."""
    file = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    edit(checkpoint)
    torch.save(checkpoint, file)


def reconfigure(run: Path, edit: Any) -> None:
    """Rewrite a run's config."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    edit(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_tokenizer_comes_back_with_its_weights_frozen(tokenizer: Path) -> None:
    loaded = load_tokenizer(tokenizer)
    saved = torch.load(tokenizer / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert saved.keys() == prefixed("tokenizer", loaded).keys()
    assert all(torch.equal(value, saved[name]) for name, value in prefixed("tokenizer", loaded).items())
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.decode(loaded.encode(IMAGES)).shape == IMAGES.shape


def test_a_generator_comes_back_with_all_that_sampling_needs(generator: Path) -> None:
    loaded = load_generator(generator)
    saved = torch.load(generator / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in prefixed("generator", loaded.generator).items())
    assert list(loaded.paradigm.modes()) == ["ar", "masked", "block"]
    assert (loaded.facts.class_names, len(loaded.generator.names("class")), loaded.step) == (CLASS_NAMES, 3, 12)
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.spec == loaded.spec == loaded.generator.spec
    assert not loaded.generator.training
    assert loaded.generator.conditions["class"].dropout == 0.1


def test_arguments_of_the_generator_reach_it(generator: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["model"]["init_args"] |= {
            "conditions": {"class": {"class_path": "ClassLabel", "init_args": {"dropout": 0.25}}},
            "backbone": {"class_path": "Transformer", "init_args": SMALL},
        }

    reconfigure(generator, edit)
    assert load_generator(generator).generator.conditions["class"].dropout == 0.25


SMALL = {"size": "tiny", "dim": 16, "depth": 1, "heads": 2}


def test_short_class_names_resolve(tmp_path: Path, tokenizer: Path) -> None:
    short = {
        "class_path": "ConvImageTokenizer",
        "init_args": TOKENIZER["init_args"] | {"quantizer": {"class_path": "BSQ", "init_args": {"bits": 4}}},
    }
    reconfigure(tokenizer, lambda config: config["model"]["init_args"].update(tokenizer=short))
    assert load_tokenizer(tokenizer).spec.size == 4
    run = generator_run(tmp_path / "short", tokenizer, paradigm={"class_path": "Masked", "init_args": {"steps": 2}})
    assert list(load_generator(run).paradigm.modes()) == ["masked"]


def test_a_run_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Path) -> None:
    """The tokenizer's path is relative to where training was started."""
    monkeypatch.chdir(tmp_path)
    run = generator_run(Path("runs") / "gen", Path("runs") / "tok")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_generator(tmp_path / run).tokenizer is not None
    assert load_generator(Path("..") / run).tokenizer is not None


def test_export_samples_and_reconstructs_as_the_run_did_and_stands_alone(tmp_path: Path, generator: Path) -> None:
    run = load_generator(generator)
    save_export(generator, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    shutil.rmtree(tmp_path / "runs")
    export = load_generator(tmp_path / "moved")
    assert torch.equal(features(export.generator), features(run.generator))
    assert weights_hash(export.generator) == weights_hash(run.generator)
    assert run.tokenizer is not None
    assert export.tokenizer is not None
    assert torch.equal(export.tokenizer(IMAGES).x, run.tokenizer(IMAGES).x)
    assert torch.equal(load_tokenizer(tmp_path / "moved" / "tokenizer")(IMAGES).x, run.tokenizer(IMAGES).x)
    assert (export.spec, export.facts.class_names, export.step) == (run.spec, run.facts.class_names, run.step)
    assert list(export.paradigm.modes()) == list(run.paradigm.modes())


def test_an_export_holds_model_and_data_and_nothing_of_the_machine(
    tmp_path: Path, generator: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "runs" / "own"
    shutil.copytree(generator, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config |= {"trainer": {"logger": {"init_args": {"api_key": "s3cret"}}}, "run": str(run), "ema": {"decay": 0.9}}
    source = config["data"]["init_args"]["source"]["init_args"]
    source |= {
        "folder": "/home/anna/digits/",
        "other": "~/private/list.txt",
        "near": str(tmp_path / "data"),
        "fine": "a/b",
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    save_export(run, tmp_path / "out")
    after = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert set(after) == {"model", "data"}
    assert after["model"] == config["model"]
    assert after["data"]["init_args"]["tokenizer"] == "out/tokenizer"
    given = after["data"]["init_args"]["source"]["init_args"]
    assert given | {"folder": "digits", "other": "list.txt", "near": "data", "fine": "a/b"} == given
    for file in (tmp_path / "out").rglob("*.*"):
        for private in (str(tmp_path), "anna", "private", "s3cret"):
            assert private.encode() not in file.read_bytes(), file
    (line,) = [line for line in caplog.messages if "last part" in line]
    assert "data.source.folder, data.source.other" in line
    assert load_generator(tmp_path / "out").tokenizer is not None


def test_an_export_can_be_exported(tmp_path: Path, generator: Path) -> None:
    save_export(generator, tmp_path / "one")
    save_export(tmp_path / "one", tmp_path / "two")
    one, two = Saved.read(tmp_path / "one"), Saved.read(tmp_path / "two")
    assert all(torch.equal(value, two.state[name]) for name, value in one.state.items())
    assert (one.state.keys(), one.record, one.step, one.averaged) == (
        two.state.keys(),
        two.record,
        two.step,
        two.averaged,
    )
    assert load_generator(tmp_path / "two").tokenizer is not None


def test_the_average_is_what_is_exported(tmp_path: Path, tokenizer: Path) -> None:
    plain = generator_run(tmp_path / "plain", tokenizer)
    assert not Saved.read(plain).averaged

    def average(checkpoint: dict[str, Any]) -> None:
        checkpoint["current_model_state"] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value * 0.5 for name, value in checkpoint["state_dict"].items()}

    change(plain, average)
    assert save_export(plain, tmp_path / "out").averaged
    assert Saved.read(tmp_path / "out").averaged
    half = torch.load(plain / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    exported = load_generator(tmp_path / "out").generator.state_dict()
    assert all(torch.equal(value, half[f"generator.{name}"]) for name, value in exported.items())


def test_names_that_compilation_adds_are_gone(tmp_path: Path, generator: Path) -> None:
    expected = load_generator(generator).generator.state_dict()

    def compiled(checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {
            name.replace("blocks.0.", "blocks.0._orig_mod."): value for name, value in state.items()
        }

    change(generator, compiled)
    for path in (generator, save_export(generator, tmp_path / "out").path):
        found = load_generator(path).generator.state_dict()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not any("_orig_mod" in name for name in Saved.read(tmp_path / "out").state)


def test_nothing_is_written_for_a_run_that_does_not_load(tmp_path: Path, generator: Path) -> None:
    shutil.rmtree(tmp_path / "runs" / "tok")
    with pytest.raises(UserError, match="the tokenizer"):
        save_export(generator, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_hash_sees_every_value_and_name() -> None:
    module = nn.Linear(2, 2)
    before = weights_hash(module)
    assert weights_hash(module) == before
    with torch.no_grad():
        module.bias[1] = torch.nextafter(module.bias[1], torch.tensor(9.0))
    assert weights_hash(module) != before
    assert weights_hash(nn.Sequential(module)) != weights_hash(module)
    assert len(weights_hash(module.bfloat16())) == 16


def refused(load: Any, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_of_something_else(tmp_path: Path, tokenizer: Path) -> None:
    assert f"{tmp_path / 'nowhere'} does not exist" in refused(load_tokenizer, tmp_path / "nowhere")
    assert "is a file; name the run" in refused(load_tokenizer, tokenizer / "checkpoints" / "last.ckpt")
    assert "holds no config.yaml" in refused(load_generator, tmp_path)
    (tmp_path / "config.yaml").write_text("a: [1")
    assert "cannot be read" in refused(load_generator, tmp_path)
    (tmp_path / "config.yaml").write_text("model: 3")
    assert "names neither a tokenizer nor a generator" in refused(load_generator, tmp_path)


def test_a_run_of_a_recipe_names_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """runs/NAME comes from tokenizers/NAME: whoever lacks it is told the command that makes it."""
    recipe = tmp_path / "tokenizers" / "fine" / "config.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(yaml.safe_dump({"model": {"init_args": {"tokenizer": TOKENIZER}}}))
    monkeypatch.setattr("mmgen.store.run_config.recipes_root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    assert (
        refused(load_tokenizer, Path("runs/fine"))
        == "runs/fine does not exist; run mmgen fit --config tokenizers/fine/config.yaml"
    )
    told = refused(load_tokenizer, Path("tokenizers/fine"))
    assert "tokenizers/fine was never trained" in told
    assert told.endswith("run mmgen fit --config tokenizers/fine/config.yaml")


def test_truncated_weights(tmp_path: Path, tokenizer: Path) -> None:
    export = save_export(tokenizer, tmp_path / "out").path
    for run, file in ((tokenizer, tokenizer / "checkpoints" / "last.ckpt"), (export, export / "model.safetensors")):
        whole = file.read_bytes()
        for share in (0.0, 0.02, 0.5, 0.99):
            file.write_bytes(whole[: int(share * len(whole))])
            assert f"{file} is truncated or corrupt" in refused(load_tokenizer, run)


def test_weights_of_another_model_name_the_first_that_does_not_fit(tokenizer: Path) -> None:
    name = "tokenizer.decoder.0.bias"
    change(tokenizer, lambda checkpoint: checkpoint["state_dict"].pop(name))
    assert "lacks decoder.0.bias: the config" in refused(load_tokenizer, tokenizer)
    change(tokenizer, lambda checkpoint: checkpoint["state_dict"].update({name: torch.zeros(3)}))
    assert "decoder.0.bias is (3,) in the file, (8,) by the config" in refused(load_tokenizer, tokenizer)
    change(
        tokenizer,
        lambda checkpoint: checkpoint["state_dict"].update({name: torch.zeros(8), "tokenizer.zz": torch.zeros(1)}),
    )
    assert "has an unexpected zz" in refused(load_tokenizer, tokenizer)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_of_a_diverged_run_are_refused(value: float, tokenizer: Path, generator: Path) -> None:
    for run, load in ((tokenizer, load_tokenizer), (generator, load_generator)):

        def spoil(checkpoint: dict[str, Any]) -> None:
            name = next(name for name, each in checkpoint["state_dict"].items() if each.is_floating_point())
            checkpoint["state_dict"][name].view(-1)[0] = value

        change(run, spoil)
        assert "holds NaN or infinity, so the training diverged" in refused(load, run)


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", {"model": {"init_args": {"tokenizer": TOKENIZER}}}, {"encoder.weight": torch.zeros(1)}
    )
    assert "holds no tokenizer of mmgen" in refused(load_tokenizer, run)


def test_a_generator_whose_tokenizer_changed(tokenizer: Path, generator: Path) -> None:
    shutil.rmtree(tokenizer)
    assert f"the tokenizer {tokenizer}" in refused(load_generator, generator)
    other = tokenizer_run(tokenizer)
    bigger = {"class_path": "BSQ", "init_args": {"bits": 6}}
    reconfigure(other, lambda config: config["model"]["init_args"]["tokenizer"]["init_args"].update(quantizer=bigger))
    assert "in the file" in refused(load_generator, generator)


def test_a_mistake_in_the_config_is_located(tokenizer: Path) -> None:
    reconfigure(tokenizer, lambda config: config["model"]["init_args"]["tokenizer"]["init_args"].update(widht=3))
    told = refused(load_tokenizer, tokenizer)
    assert str(tokenizer / "config.yaml") in told
    assert "'widht'" in told
    assert "did you mean 'width'?" in told


def test_the_paradigm_of_a_run_is_rebuilt_with_its_arguments(tmp_path: Path, tokenizer: Path) -> None:
    run = generator_run(tmp_path / "ar", tokenizer, classes=0, paradigm=AR)
    loaded = load_generator(run)
    assert loaded.paradigm.mask.name == "causal"
    assert (loaded.facts.class_names, len(loaded.generator.names("class"))) == ([], 0)


def test_a_tokenizer_that_was_trained_anew_is_refused(tmp_path: Path) -> None:
    """Same token spec, other weights: the samples would be decoded into something else."""
    tokenizer = tokenizer_run(tmp_path / "tokenizer")
    run = generator_run(tmp_path / "run", tokenizer)
    load_generator(run)
    shutil.rmtree(tokenizer)
    tokenizer_run(tokenizer, seed=1)
    with pytest.raises(UserError, match="trained anew"):
        load_generator(run)


def test_loading_leaves_the_global_generator_alone(generator: Path) -> None:
    """A run that loads its tokenizer starts from the same weights as one on cached tokens."""
    before = torch.get_rng_state()
    load_generator(generator)
    assert torch.equal(torch.get_rng_state(), before)
