"""Weights of exports and of checkpoints without a seal: no change goes unseen, and no claim takes memory."""

import io
import random
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.torch_file import Unsound, read_torch_file, read_weights
from mmgen.store.checkpoint_file import check_seal, read_checkpoint
from mmgen.store.store import load_generator, load_tokenizer, save_export, weights_hash
from mmgen.tokenizers import Tokenizer
from tests.fuzz.mutation import TIMES, refused
from tests.tiny_runs import generator_run, tokenizer_run

FLIPS = 60 * TIMES  # of each file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer_run(tmp_path_factory.mktemp("weights") / "runs" / "tok")


@pytest.fixture(scope="module")
def export(run: Path) -> Path:
    return save_export(run, run.parent / "exported").path


def line_of(read: Callable[[], object], *errors: type[Exception]) -> str:
    with pytest.raises(errors or UserError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A bit flipped, or a piece cut off or out."""
    at = chance.randrange(len(whole))
    return chance.choice(
        [
            whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :],
            whole[:at],
            whole[:at] + whole[at + chance.randrange(1, 99) :],
        ]
    )


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml"])
def test_an_export_that_was_changed_is_refused_or_gives_the_same(name: str, export: Path, tmp_path: Path) -> None:
    expected, chance = weights_hash(load_tokenizer(export)), random.Random(len(name) + 100 * TIMES)
    model = yaml.safe_load((export / "config.yaml").read_text())["model"]
    folder = shutil.copytree(export, tmp_path / "changed")
    for _ in range(FLIPS):
        (folder / name).write_bytes(damaged((export / name).read_bytes(), chance))
        loaded: list[Tokenizer] = []
        if not refused(lambda loaded=loaded: loaded.append(load_tokenizer(folder)), UserError):
            assert weights_hash(loaded[0]) == expected
            assert yaml.safe_load((folder / "config.yaml").read_text())["model"] == model


def test_another_model_in_the_config_of_an_export_is_told(export: Path, tmp_path: Path) -> None:
    """Also where all shapes still fit."""
    folder = shutil.copytree(export, tmp_path / "changed")
    config = (folder / "config.yaml").read_text()
    assert "bits: 4" in config
    (folder / "config.yaml").write_text(config.replace("bits: 4", "bits: 4\n        beta: 3.0"))
    assert "model in the config beside it was changed" in line_of(lambda: load_tokenizer(folder))


def test_weights_without_a_seal_are_no_export(export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(export, tmp_path / "unsealed")
    with safe_open(export / "model.safetensors", "pt") as opened:
        state, metadata = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118
    del metadata["sha256"]
    save_file(state, folder / "model.safetensors", metadata)
    assert "not written by `mmgen export`" in line_of(lambda: load_tokenizer(folder))


def test_a_checkpoint_without_a_seal_that_was_changed_is_refused_or_gives_the_same(run: Path, tmp_path: Path) -> None:
    folder, chance = shutil.copytree(run, tmp_path / "run"), random.Random(TIMES)
    expected, file = weights_hash(load_tokenizer(run)), folder / "checkpoints" / "last.ckpt"
    whole = file.read_bytes()
    for _ in range(FLIPS):
        file.write_bytes(damaged(whole, chance))
        loaded: list[Tokenizer] = []
        if not refused(lambda loaded=loaded: loaded.append(load_tokenizer(folder)), UserError):
            assert weights_hash(loaded[0]) == expected


def changed_run(run: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    copy = shutil.copytree(run, folder)
    file = copy / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, file)
    return copy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value.to(torch.int32), "is int32 in the file, float32 by the config"),
        (lambda value: value.to(torch.complex64), "is complex64"),
        (lambda value: value > 0, "is bool"),
        (lambda value: value.tolist(), "holds no tokenizer"),
        (lambda value: "weight", "holds no tokenizer"),
        (lambda value: torch.full_like(value, torch.inf), "NaN or infinity"),
    ],
)
def test_weights_that_are_no_real_numbers_are_refused(
    change: Callable[[Tensor], Any], words: str, run: Path, tmp_path: Path
) -> None:
    def one(state: dict[str, Any]) -> None:
        name = next(iter(state))
        state[name] = change(state[name])

    assert words in line_of(lambda: load_tokenizer(changed_run(run, tmp_path / "run", one)))


def test_half_precision_is_taken(run: Path, tmp_path: Path) -> None:
    copy = changed_run(run, tmp_path / "run", lambda state: state.update({k: v.half() for k, v in state.items()}))
    assert all(value.dtype == torch.float32 for value in load_tokenizer(copy).state_dict().values())


LARGE: dict[str, tuple[tuple[str, ...], int]] = {
    "width": (("tokenizer", "init_args", "width"), 2**16),
    "bits": (("tokenizer", "init_args", "quantizer", "init_args", "bits"), 10**9),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_tokenizer_that_claims_to_be_large_takes_no_memory(name: str, run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    enlarge(folder, *LARGE[name])
    line_of(lambda: load_tokenizer(folder))


@pytest.mark.parametrize("option", [("dim", 2**20), ("depth", 10**8), ("mlp_hidden", 2**40)])
def test_a_generator_that_claims_to_be_large_takes_no_memory(
    option: tuple[str, int], run: Path, tmp_path: Path
) -> None:
    folder = generator_run(tmp_path / "gen", run)
    enlarge(folder, ("backbone", "init_args", option[0]), option[1])
    assert "much smaller than the model" in line_of(lambda: load_generator(folder))


def enlarge(folder: Path, keys: tuple[str, ...], value: int) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    here = config["model"]["init_args"]
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def archive(tmp_path: Path, change: Callable[[str, bytes], bytes] = lambda name, data: data, **how: Any) -> Path:
    """A file of torch, its parts changed and written anew."""
    file = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(10)}, "global_step": 1}, file)
    path = tmp_path / "given.ckpt"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", **how) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def test_compressed_parts_are_refused(tmp_path: Path) -> None:
    """A thousand times as much would come out of them."""
    path = archive(tmp_path, compression=zipfile.ZIP_DEFLATED)
    for read in (read_torch_file, read_checkpoint, check_seal, read_weights):
        assert "compressed parts" in line_of(lambda read=read: read(path), Unsound, UserError)


def test_parts_that_overlap_are_refused(tmp_path: Path) -> None:
    """The directory at the end names the same bytes again and again."""
    path = tmp_path / "given.ckpt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", bytes(2000))
        first = file.filelist[0]
        for number in range(9):
            again = zipfile.ZipInfo(f"x/data/{number}")
            for name in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(again, name, getattr(first, name))
            file.filelist.append(again)
            file.NameToInfo[again.filename] = again
    assert "overlap" in line_of(lambda: read_torch_file(path), Unsound)


def test_one_number_under_many_places_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1).expand(10**12)}, "global_step": 1}, tmp_path / "given.ckpt")
    assert "claims a tensor" in line_of(lambda: read_checkpoint(tmp_path / "given.ckpt"), Unsound)


def pickled(*instructions: bytes) -> bytes:
    return b"".join([b"\x80\x02", *instructions, b"."])


BOMBS = {
    "bytes": pickled(b"cbuiltins\nbytearray\n", b"J\xff\xff\xff\x3f", b"\x85R"),
    "a tensor": pickled(b"ctorch\nTensor\n", b"J\xff\xff\xff\x3f", b"\x85R"),
    "a sparse tensor": pickled(b"ctorch._utils\n_rebuild_sparse_tensor\n", b")R"),
    "many lists": pickled(b"]" * (2**24)),
    "a program": pickled(b"cos\nsystem\n", b"X\x04\0\0\0true", b"\x85R"),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_pickles_that_take_memory_are_refused_before_they_are_followed(bomb: bytes, tmp_path: Path) -> None:
    path = archive(tmp_path, lambda name, data: bomb if name.endswith(".pkl") else data)
    tracemalloc.start()
    try:
        line = line_of(lambda: read_torch_file(path), Unsound)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert "refused" in line
    assert "weights_only" not in line


@pytest.mark.parametrize("value", [np.zeros(2), Path("x"), slice(1)], ids=str)
@pytest.mark.parametrize("old", [False, True])
def test_no_advice_to_switch_the_safeguard_off(value: Any, old: bool, tmp_path: Path) -> None:
    torch.save({"state_dict": value}, tmp_path / "given.ckpt", _use_new_zipfile_serialization=not old)
    for read in (read_checkpoint, read_weights):
        line = line_of(lambda read=read: read(tmp_path / "given.ckpt"), Unsound, UserError)
        assert "weights_only" not in line
        assert "add_safe_globals" not in line


def test_weights_in_the_old_format_of_torch_are_read_where_others_published_them(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_weights(tmp_path / "old.pth")["a"].tolist() == [0, 1, 2]
    assert "no archive" in line_of(lambda: read_checkpoint(tmp_path / "old.pth"), Unsound)
