"""Files and configs of somebody else cannot run code: not by a pickle, not by the class that a config names."""

import ast
import hashlib
import io
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.data.sources import CachedTokens
from mmgen.evaluation.inception import Inception
from mmgen.modalities.image.evaluation.npz import read_npz
from mmgen.modalities.image.tokenizers.pretrained import open_pretrained
from mmgen.modalities.motion.files import read_motion
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.motion_folder import read_features
from mmgen.store.allowed_imports import VARIABLE, allowed_in_models, allowed_in_recipes
from mmgen.store.store import load_generator, load_tokenizer, save_export
from mmgen.tokenizers.losses import LPIPS
from tests.tiny_runs import generator_run, tokenizer_run

PACKAGE = Path(__file__).parents[2] / "mmgen"


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trap),)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """What a payload makes; its pickle does so where it is trusted."""
    place = tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(place)))
    assert place.is_dir(), "the payload of this test does nothing"
    place.rmdir()
    return place


def as_torch(payload: Payload) -> bytes:
    """A checkpoint with all that is asked for, and more."""
    file = io.BytesIO()
    torch.save({"state_dict": {"tokenizer.x": payload}, "global_step": 1, "hyper": payload}, file)
    return file.getvalue()


def as_old_torch(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": payload, "global_step": 1}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def as_array(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


def as_arrays(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.savez(file, arr_0=np.array([payload], dtype=object))
    return file.getvalue()


FORMS = {"pickle": pickle.dumps, "torch": as_torch, "old torch": as_old_torch, "array": as_array, "arrays": as_arrays}


def checkpoint_of_run(data: bytes, folder: Path) -> Callable[[], object]:
    run = tokenizer_run(folder / "run")
    (run / "checkpoints" / "last.ckpt").write_bytes(data)
    return lambda: load_tokenizer(run)


def checkpoint_to_resume(data: bytes, folder: Path) -> Callable[[], object]:
    (folder / "given.ckpt").write_bytes(data)
    return lambda: fails(["fit", "--config=tokenizers/digits_bsq", f"--run={folder / 'new'}",
                          f"--ckpt_path={folder / 'given.ckpt'}"])  # fmt: skip


def weights_of_export(data: bytes, folder: Path) -> Callable[[], object]:
    export = save_export(tokenizer_run(folder / "run"), folder / "export").path
    (export / "model.safetensors").write_bytes(data)
    return lambda: load_tokenizer(export)


def shard_of_tokens(data: bytes, folder: Path) -> Callable[[], object]:
    """With a checksum that fits."""
    CachedTokens.make_fake(folder / "tokens")
    meta = json.loads((folder / "tokens" / "meta.json").read_text())
    for shard in meta["shards"]:
        (folder / "tokens" / shard["file"]).write_bytes(data)
        shard["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "tokens" / "meta.json").write_text(json.dumps(meta))
    return lambda: CachedTokens(folder / "tokens").samples("train")


def in_files(read: Callable[[Path], object], *names: str) -> Callable[[bytes, Path], Callable[[], object]]:
    """A place: these files of a folder, of which the first is read."""

    def place(data: bytes, folder: Path) -> Callable[[], object]:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        return lambda: read(folder / names[0])

    return place


def autoencoder(file: Path) -> object:
    (file.parent / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    return open_pretrained(file.parent)


def fails(args: list[str]) -> None:
    assert main(args) == 2
    raise UserError("in a line")


PLACES: dict[str, Callable[[bytes, Path], Callable[[], object]]] = {
    "checkpoint of a run": checkpoint_of_run,
    "checkpoint to resume": checkpoint_to_resume,
    "weights of an export": weights_of_export,
    "shard of tokens": shard_of_tokens,
    "motion": in_files(read_motion, "walk.npy"),
    "features": in_files(lambda file: read_features(file, HUMANML3D), "new_joint_vecs/walk.npy"),
    "samples of others": in_files(read_npz, "samples.npz"),
    "inception": in_files(Inception, "inception.pth"),
    "diffusers": in_files(autoencoder, "vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.safetensors"),
    "perceptual": in_files(lambda file: LPIPS(str(file)), "vgg.pth"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_no_pickle_is_run(place: Callable[..., Any], form: str, trap: Path, tmp_path: Path) -> None:
    load = place(FORMS[form](Payload(trap)), tmp_path)
    with pytest.raises(UserError) as told:
        load()
    assert "\n" not in str(told.value)
    assert not trap.exists(), "the payload ran"


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_other_place_could_unpickle() -> None:
    """In the whole package: how torch and numpy load, and nothing that evaluates what it reads."""
    torch_files = []
    for path in PACKAGE.rglob("*.py"):
        for name, call in calls(ast.parse(path.read_text())):
            given = {each.arg: ast.unparse(each.value) for each in call.keywords}
            where = f"{path}:{call.lineno}"
            if name == "torch.load":
                torch_files.append(path.name)
                assert given.get("weights_only") == "True", where
            if name == "np.load":
                assert given.get("allow_pickle") == "False", where
            assert not name.startswith(("pickle.", "marshal.", "shelve.", "joblib.", "dill.")), where
            assert name not in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system"), where
            assert given.get("shell") != "True", where
    assert torch_files == ["torch_file.py"]  # where claims are checked too


# Configs.

STRANGERS = {
    "a function": "os.system",
    "a process": "subprocess.Popen",
    "an evaluation": "builtins.eval",
    "a class of torch": "torch.nn.Linear",
    "a class of lightning": "lightning.pytorch.Trainer",
    "a module of its own": "evil_module.Thing",
    "a package of its own": "evil_package.inner.Thing",
    "what a module of mmgen imports": "mmgen.apps.cli.run_folder.shutil.rmtree",
    "what a part of mmgen imports": "mmgen.store.store.torch.hub.load",
    "a name that begins like ours": "mmgenevil.Thing",
}


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: Path) -> Path:
    """Modules on the path that do harm when they are imported."""
    harm = f"import os; os.makedirs({str(trap)!r}, exist_ok=True)\nclass Thing:\n    pass\n"
    for file in ("evil_module.py", "mmgenevil.py", "evil_package/__init__.py", "evil_package/inner.py"):
        (tmp_path / "path" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "path" / file).write_text(harm)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    return trap


def spots(config: Any) -> list[dict[str, Any]]:
    """Every part of a config that names a class."""
    if isinstance(config, list):
        return [spot for each in config for spot in spots(each)]
    if not isinstance(config, dict):
        return []
    return [config] * ("class_path" in config) + [spot for each in config.values() for spot in spots(each)]


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_a_recipe_cannot_name_what_is_not_allowed(
    stranger: str, evil: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Wherever it stands, and as a word that should be a class."""
    text = Path("tokenizers/digits_bsq/config.yaml").read_text()
    config = yaml.safe_load(text)
    number = len(spots(config))
    assert number >= 3
    for place in range(number):
        config = yaml.safe_load(text)
        spots(config)[place]["class_path"] = stranger
        refused(["fit", f"--config={write(config, tmp_path)}", f"--run={tmp_path / 'run'}"], capfd)
    forms = {"callbacks": [{"class_path": stranger}], "logger": {"class_path": stranger, "init_args": {}},
             "strategy": {"class_path": stranger}, "plugins": [stranger], "profiler": stranger}  # fmt: skip
    for key, form in forms.items():
        config = yaml.safe_load(text)
        config.setdefault("trainer", {})[key] = form
        refused(["fit", f"--config={write(config, tmp_path)}", f"--run={tmp_path / 'run'}"], capfd)
    assert not evil.exists(), "it was imported"


def write(config: dict[str, Any], folder: Path) -> Path:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config))
    return folder / "recipe.yaml"


def refused(args: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert main(args) == 2, args
    told = capfd.readouterr().err
    assert told.startswith("mmgen: error: ")
    assert told.count("\n") == 1, told
    return told


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_the_config_of_a_run_or_an_export_cannot_either(
    stranger: str, evil: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok"))
    export = save_export(run, tmp_path / "export").path
    for folder in (run, export):
        whole = (folder / "config.yaml").read_text()
        parts = spots(yaml.safe_load(whole)["model"]["init_args"])
        for place in range(len(parts)):
            config = yaml.safe_load(whole)
            spots(config["model"]["init_args"])[place]["class_path"] = stranger
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            with pytest.raises(UserError) as told:
                load_generator(folder)
            assert "\n" not in str(told.value)
        config = yaml.safe_load(whole)
        config["model"]["init_args"]["paradigm"] = f"{{class_path: {stranger}, init_args: {{}}}}"  # YAML within YAML
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        for command in (["sample", str(folder), "--mode=ar"], ["export", str(folder), f"--out={tmp_path / 'new'}"]):
            refused(command, capfd)
    assert not evil.exists(), "it was imported"


def test_only_the_environment_allows_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "my_parts.py").write_text(
        "from mmgen.tokenizers.quantizers import BSQ\nclass Mine(BSQ):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    run = tokenizer_run(tmp_path / "tok")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["tokenizer"]["init_args"]["quantizer"]["class_path"] = "my_parts.Mine"
    (run / "config.yaml").write_text(yaml.safe_dump(config | {VARIABLE: "my_parts"}))
    with pytest.raises(UserError, match=f"only classes of mmgen are loaded.*{VARIABLE}"):
        load_tokenizer(run)
    assert "my_parts" not in sys.modules
    monkeypatch.setenv(VARIABLE, "my_parts, another.one")
    assert type(load_tokenizer(run).quantizer).__name__ == "Mine"
    assert allowed_in_models() == ("mmgen", "my_parts", "another.one")
    assert set(allowed_in_models()) < set(allowed_in_recipes())


@pytest.mark.parametrize("value", ["*", "my parts", "my_parts.*", "../up"])
def test_the_environment_names_packages(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UserError, match=VARIABLE):
        allowed_in_recipes()
