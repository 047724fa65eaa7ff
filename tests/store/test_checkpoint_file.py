"""Checkpoint files: whole or not there, damage is found, and the one before a damaged one is taken."""

import builtins
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmgen.store.checkpoint_file
from mmgen.core.errors import UserError
from mmgen.store.checkpoint_file import (
    Unsound,
    check_seal,
    find_checkpoint,
    one_before,
    read_checkpoint,
    write_checkpoint,
)
from mmgen.store.store import load_tokenizer
from tests.tiny_runs import tokenizer_run


def content(step: int) -> dict[str, Any]:
    return {"global_step": step, "state_dict": {"weight": torch.full((40, 30), float(step)), "none": torch.zeros(0)}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints" / "last.ckpt"


def step_of(path: Path) -> int:
    check_seal(path)
    checkpoint = read_checkpoint(path)
    assert checkpoint["state_dict"]["weight"].eq(checkpoint["global_step"]).all()
    return checkpoint["global_step"]


def refusal(write: Callable[[], None]) -> str | None:
    try:
        write()
    except UserError as error:
        return str(error)
    return None


def test_what_is_written_comes_back_and_the_one_before_it_stays(path: Path) -> None:
    for step in range(4):
        write_checkpoint(content(step), path)
        assert step_of(path) == step
        assert find_checkpoint(path) == (path, None)
        if step:
            assert step_of(one_before(path)) == step - 1
    assert len(list(path.parent.iterdir())) == 2


def test_any_reader_of_torch_files_reads_it(path: Path) -> None:
    write_checkpoint(content(3), path)
    for mmap in (False, True):
        assert torch.load(path, weights_only=True, mmap=mmap)["global_step"] == 3


def test_a_file_without_a_seal_is_read(path: Path) -> None:
    path.parent.mkdir(parents=True)
    torch.save(content(2), path)
    assert step_of(path) == 2


def test_every_changed_bit_and_every_cut_is_found(path: Path) -> None:
    write_checkpoint(content(1), path)
    data, draw = path.read_bytes(), random.Random(0)
    places = {*range(len(data) - 110, len(data)), *range(8), *(draw.randrange(len(data)) for _ in range(300))}
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(Unsound, match="truncated or corrupt"):
            check_seal(path)
    for size in {0, 1, 21, 22, *range(len(data) - 110, len(data)), *(draw.randrange(len(data)) for _ in range(100))}:
        path.write_bytes(data[:size])
        with pytest.raises(Unsound, match="truncated or corrupt"):
            check_seal(path)


@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_the_one_before_takes_the_place_of_a_damaged_one(damage: str, path: Path) -> None:
    for step in (1, 2):
        write_checkpoint(content(step), path)
    if damage == "cut":
        os.truncate(path, 700)
    elif damage == "altered":
        path.write_bytes(path.read_bytes().replace(b"weight", b"weighs", 1))
    else:
        path.unlink()
    found, told = find_checkpoint(path)
    assert found == one_before(path)
    assert told is not None
    assert f"{path} is" in told
    assert f"{found}, of step 1" in told
    assert "\n" not in told

    # The sound one is not given up for the damaged one when training goes on.
    write_checkpoint(content(3), path)
    assert step_of(path) == 3
    assert step_of(one_before(path)) == 1
    os.truncate(path, 5)
    os.truncate(one_before(path), 5)
    with pytest.raises(Unsound, match="truncated or corrupt"):
        find_checkpoint(path)


def test_a_disk_that_is_full_half_way_leaves_the_old_one_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each write that saving makes, from the first to the last, in a line each."""

    class Full:
        def __init__(self, file: Any, after: int) -> None:
            self._file, self.left = file, after

        def write(self, data: Any) -> int:
            self.left -= 1
            if self.left < 0:
                self._file.write(bytes(data)[: len(data) // 2])  # a part may still fit
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

    write_checkpoint(content(1), path)
    failures = 0
    for after in range(1000):
        with monkeypatch.context() as patch:

            def limited(name: Any, mode: str = "r", after: int = after) -> Any:
                file = builtins.open(name, mode)  # noqa: SIM115  # what asks for it closes it
                return Full(file, after) if mode == "wb" else file

            patch.setattr(mmgen.store.checkpoint_file, "open", limited, raising=False)
            told = refusal(lambda: write_checkpoint(content(2), path))
        if told is None:
            break
        failures += 1
        assert f"checkpoint {path} could not be written (No space left on device); {path} is still" in told
        assert "\n" not in told
        assert step_of(path) == 1
        assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]
    assert failures > 10
    assert step_of(path) == 2


def test_the_first_one_that_cannot_be_written_says_so(path: Path) -> None:
    path.parent.parent.mkdir()
    path.parent.write_text("a file in the way")
    with pytest.raises(UserError, match=r"could not be written \([^)]+\); there was none before it"):
        write_checkpoint(content(1), path)


def test_a_disk_without_links_keeps_both(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    for step in (1, 2, 3):
        write_checkpoint(content(step), path)
    assert (step_of(path), step_of(one_before(path))) == (3, 2)


def test_a_damaged_run_is_sampled_from_the_checkpoint_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tokenizer_run(tmp_path / "tok")
    file = run / "checkpoints" / "last.ckpt"
    whole = torch.load(file, weights_only=True)
    for step in (12, 24):
        write_checkpoint(whole | {"global_step": step}, file)
    os.truncate(file, file.stat().st_size // 2)
    load_tokenizer(run)
    (told,) = [record.message for record in caplog.records]
    assert f"{file} is truncated or corrupt" in told
    assert "of step 12" in told
    assert "\n" not in told
