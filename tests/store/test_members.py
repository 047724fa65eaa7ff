"""The members of a joint run on disk: RUN/MEMBER is read, sampled, exported and trained on as a run of its own."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Names, Vocabulary
from mmgen.data.build import build_source, open_source
from mmgen.modalities.image.sources.digits import Digits
from mmgen.store.rebuild import build_generator
from mmgen.store.store import Saved, load_generator, load_tokenizer, weights_hash
from mmgen.training import JointModule
from mmgen.training.joint_module import Member
from tests.data_modules import data_section
from tests.spoken_runs import PARADIGM, RATE, TEXT, VOICES, codec_run
from tests.tiny_runs import CLASS_NAMES, MIXTURE, scramble, tokenizer_run, write_run

NARROW = {"dim": 16, "depth": 1, "heads": 2, "rope": [2, 1, 1]}
BACKBONE = {"class_path": "mmgen.model.backbone.Transformer", "init_args": {"size": "tiny", **NARROW}}
MEMBERS: dict[str, dict[str, Any]] = {
    "image": {"paradigm": MIXTURE, "weight": 1.0, "positions": "learned"},
    "speech": {"paradigm": PARADIGM, "weight": 0.5, "positions": "none"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and speech over one backbone, as `mmgen fit` leaves them."""
    return joint_run(tmp_path_factory.mktemp("made") / "joint")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path / "joint")
    return tmp_path / "joint"


def joint_run(folder: Path) -> Path:
    tokenizers = {"image": tokenizer_run(folder.parent / "tok"), "speech": codec_run(folder.parent / "codec")}
    specs = {name: load_tokenizer(path).spec for name, path in tokenizers.items()}
    facts = {name: known(specs[name], path, name) for name, path in tokenizers.items()}
    backbone, members = None, {}
    for name, options in MEMBERS.items():
        generator, paradigm = build_generator(
            copy.deepcopy({"backbone": BACKBONE} | options), Facts(specs[name]), "tests"
        )
        backbone = backbone or generator.backbone
        members[name] = Member(**options | {"paradigm": paradigm})
    assert backbone is not None
    module = scramble(JointModule(facts, 0, backbone, members))
    assert isinstance(module, JointModule)
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    digits = Digits.make_fake(folder.parent / "digits")
    data = {
        "image": data_section("Digits", seed=0, global_batch_size=8, **digits),
        "speech": data_section("EspeakSpeech", seed=0, clips=30),
    }
    for name, section in data.items():
        section["init_args"] |= {"tokenizer": str(tokenizers[name])}
    config = {
        "model": {
            "class_path": "mmgen.training.JointModule",
            "init_args": {"backbone": BACKBONE, "members": MEMBERS, "optimizer": {"lr": 1e-3}},
        },
        "data": {"class_path": "mmgen.data.JointData", "init_args": {"members": data}},
        "trainer": {"max_steps": 12},
    }
    return write_run(folder, config, module.state_dict(), **checkpoint)


def known(spec: TokenSpec, tokenizer: Path, name: str) -> Facts:
    """What data would say."""
    speech = name == "speech"
    conditions: dict[str, Vocabulary] = {"class": Names(tuple(VOICES if speech else CLASS_NAMES))}
    return Facts(
        spec,
        conditions | ({"text": TEXT} if speech else {}),
        sample_rate=RATE if speech else None,
        tokenizer_path=str(tokenizer),
        tokenizer_hash=weights_hash(load_tokenizer(tokenizer)),
    )


def state_of(run: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_loads_as_a_run_of_its_own(run: Path, name: str) -> None:
    loaded, state = load_generator(run / name), state_of(run)
    own = loaded.generator.state_dict()
    assert {f"members.{name}.generator.{key}" for key in own} == {key for key in state if f".{name}." in key}
    assert all(torch.equal(value, state[f"members.{name}.generator.{key}"]) for key, value in own.items())
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.spec == loaded.spec
    assert loaded.facts.class_names == {"image": CLASS_NAMES, "speech": VOICES}[name]
    assert loaded.facts.sample_rate == (RATE if name == "speech" else None)
    assert (loaded.generator.vocabulary("text"), [*loaded.generator.parts]) == (
        (TEXT, ["sentinel"]) if name == "speech" else (None, [])
    )
    assert (loaded.step, loaded.path) == (12, run / name)


def test_members_have_the_same_backbone_and_ends_of_their_own(run: Path) -> None:
    image, speech = (load_generator(run / name).generator for name in MEMBERS)
    assert weights_hash(image.backbone) == weights_hash(speech.backbone)
    assert weights_hash(image.head) != weights_hash(speech.head)


@pytest.mark.parametrize(("name", "options"), [("image", ["--num=3"]), ("speech", ["--text=a bad dad"])])
def test_a_member_is_sampled_from_the_run_as_from_its_export(
    run: Path, name: str, options: list[str], tmp_path: Path
) -> None:
    modes = [mode for mode in load_generator(run / name).paradigm.modes() if mode != "infill"]
    for mode in modes:
        assert main(["sample", str(run / name), f"--mode={mode}", *options, f"--out={tmp_path / f'run_{mode}'}"]) == 0
    assert main(["export", str(run / name), f"--out={tmp_path / 'export'}"]) == 0
    shutil.rmtree(run)  # the export needs none of it
    assert load_generator(tmp_path / "export").tokenizer is not None
    for mode in modes:
        out = tmp_path / f"export_{mode}"
        assert main(["sample", str(tmp_path / "export"), f"--mode={mode}", *options, f"--out={out}"]) == 0
        there, here = (tmp_path / f"run_{mode}" / "samples.safetensors", out / "samples.safetensors")
        assert there.read_bytes() == here.read_bytes()


def test_samples_lie_in_the_member_which_stays_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from inside the run."""
    monkeypatch.chdir(run)
    assert main(["sample", "image", "--mode=masked", "--num=1"]) == 0
    assert main(["sample", str(run / "image"), "--mode=masked", "--num=1"]) == 0
    assert len(list((run / "image" / "samples").iterdir())) == 2
    assert load_generator(run / "image").step == 12


def test_the_config_of_a_member_is_that_of_a_run_alone(run: Path) -> None:
    config = Saved.read(run / "speech").config
    assert config["model"]["class_path"] == "mmgen.training.GeneratorModule"
    assert config["model"]["init_args"] == {"backbone": BACKBONE, "optimizer": {"lr": 1e-3}} | {
        key: value for key, value in MEMBERS["speech"].items() if key != "weight"
    }
    assert config["data"]["init_args"]["source"]["class_path"] == "EspeakSpeech"
    assert "seed" not in config["data"]["init_args"]
    assert config["trainer"] == {"max_steps": 12}
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["members"] == MEMBERS


def test_the_data_of_a_member_are_found(run: Path) -> None:
    for source in (open_source(str(run / "image")), build_source(Saved.read(run / "image").config)):
        assert isinstance(source, Digits)
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["data"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    load_generator(run / "image")  # needs none
    assert "the config has no data.source" in refused(run / "image", open_source)


def refused(path: Path, load: Any = load_generator) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mistakes_name_the_members(run: Path, tmp_path: Path) -> None:
    known = f"name one of {run / 'image'}, {run / 'speech'}"
    for load in (load_generator, load_tokenizer, Saved.read, open_source):
        assert refused(run, load) == f"{run} is a run of several modalities: {known}"
    assert refused(run / "speach") == f"{run} has no member 'speach': {known}; did you mean 'speech'?"
    assert "is a generator, but a tokenizer is needed here" in refused(run / "speech", load_tokenizer)
    assert "holds no config.yaml" in refused(run / "checkpoints")
    shutil.rmtree(run / "checkpoints")
    assert refused(run / "image").startswith(f"{run / 'image'} was never trained")
    assert refused(run / "image").endswith(f"mmgen fit --config {run / 'config.yaml'}")


def test_a_checkpoint_without_the_member_is_refused(run: Path) -> None:
    file = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["mmgen"]["members"]["image"]
    torch.save(checkpoint, file)
    assert "holds no generator of mmgen" in refused(run / "image")
    load_generator(run / "speech")


def test_a_mistake_in_a_members_config_is_located_in_the_run(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["members"]["speech"]["positions"] = "some"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert refused(run / "speech").startswith(f"{run / 'config.yaml'}: ")
    config["model"]["init_args"]["backbone"]["class_path"] = "os.system"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert "only classes of mmgen are loaded" in refused(run / "speech")
