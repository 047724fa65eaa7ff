"""Which folders are listed, which are not and why, and what stays in memory."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

import mmgen.apps.serve.runs
from mmgen.apps.serve.runs import LastLoaded, find_runs
from mmgen.core.errors import UserError
from mmgen.store.store import save_export
from tests.tiny_runs import generator_run, tokenizer_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "runs"
    generator_run(folder / "gen", tokenizer_run(folder / "tok"))
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "runs")


def test_generators_are_listed_and_all_other_runs_have_a_reason(runs: Path) -> None:
    shutil.copytree(runs / "gen", runs / "demo" / "inner")
    save_export(runs / "gen", runs / "exported")
    (runs / "notes").mkdir()  # no run
    broken = {"typo": "a: [", "list": "- a", "empty": "{}", "untrained": (runs / "gen" / "config.yaml").read_text()}
    for name, config in broken.items():
        (runs / name).mkdir()
        (runs / name / "config.yaml").write_text(config)
    cut = shutil.copytree(runs / "gen", runs / "cut") / "checkpoints" / "last.ckpt"
    cut.write_bytes(cut.read_bytes()[:-400])
    found = find_runs(runs)
    assert set(found.paths) == {"gen", "demo/inner", "exported"}
    reasons = {"tok": "is a tokenizer", "untrained": "never trained", "cut": "truncated", "typo": "cannot be read"}
    assert set(found.skipped) == {*reasons, "list", "empty"}
    assert all(words in found.skipped[name] for name, words in reasons.items())
    assert all(reason and "\n" not in reason for reason in found.skipped.values())


def test_a_folder_that_cannot_be_read_leaves_all_others_listed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it, also what nobody thought of."""
    for name in ("odd", "closed", "caf\udce9\x1b[31m"):
        shutil.copytree(runs / "gen", runs / name)
    (runs / "deep").symlink_to(runs, target_is_directory=True)
    (runs / "joint").mkdir()
    members = {"../gen": {}, "..": {}, "": {}, "a/b": {}, "fine": {}}
    (runs / "joint" / "config.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"members": members}}}))
    judge, is_file = mmgen.apps.serve.runs._why_not, Path.is_file

    def fails(path: Path, run: Path, config: object) -> str | None:
        if path.name == "odd":
            raise KeyError("of no use")
        return judge(path, run, config)

    def closed(path: Path) -> bool:
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(mmgen.apps.serve.runs, "_why_not", fails)
    monkeypatch.setattr(Path, "is_file", closed)
    found = find_runs(runs)
    assert "gen" in found.paths
    assert r"caf\xe9\x1b[31m" in found.paths
    assert "KeyError" in found.skipped["odd"]
    assert "Permission denied" in found.skipped["closed"]
    assert [name for name in (*found.paths, *found.skipped) if name.startswith("joint")] == ["joint/fine"]
    assert all(name.isprintable() and reason.isprintable() for name, reason in found.skipped.items())
    with pytest.raises(UserError, match="by its name"):
        found.path(["gen"])  # type: ignore[arg-type]


def test_the_members_of_a_joint_run_are_listed_one_by_one(tmp_path: Path) -> None:
    config = {"model": {"init_args": {"members": {"image": {}, "audio": {}}}}}
    (tmp_path / "joint" / "checkpoints").mkdir(parents=True)
    (tmp_path / "joint" / "config.yaml").write_text(yaml.safe_dump(config))
    with zipfile.ZipFile(tmp_path / "joint" / "checkpoints" / "last.ckpt", "w") as file:
        file.writestr("data", "")
    assert set(find_runs(tmp_path).paths) == {"joint/image", "joint/audio"}


def test_a_folder_may_be_the_run_itself(runs: Path) -> None:
    assert find_runs(runs / "gen").paths == {"gen": runs / "gen"}


def test_the_run_that_was_trained_last_comes_first(runs: Path) -> None:
    shutil.copytree(runs / "gen", runs / "old")
    os.utime(runs / "old" / "checkpoints" / "last.ckpt", (1, 1))
    assert list(find_runs(runs).paths) == ["gen", "old"]


def test_only_what_is_listed_can_be_asked_for(runs: Path) -> None:
    found = find_runs(runs)
    for name in ("tok", "../runs/gen", str(runs / "gen"), "", None):
        with pytest.raises(UserError):
            found.path(name)
    with pytest.raises(UserError, match="did you mean 'gen'"):
        found.path("gem")
    with pytest.raises(UserError, match="is no folder"):
        find_runs(runs / "missing")


def test_the_last_run_stays_in_memory_until_its_weights_change(runs: Path) -> None:
    shutil.copytree(runs / "gen", runs / "other")
    last = LastLoaded()
    loaded = last.get(runs / "gen")
    assert last.get(runs / "gen") is loaded
    os.utime(runs / "gen" / "checkpoints" / "last.ckpt", (2, 2))  # it was trained further
    again = last.get(runs / "gen")
    assert again is not loaded
    assert last.get(runs / "other") is not again


def test_a_run_that_does_not_load_leaves_nothing_behind(runs: Path) -> None:
    last = LastLoaded()
    kept = last.get(runs / "gen")
    broken = shutil.copytree(runs / "gen", runs / "broken")
    with zipfile.ZipFile(broken / "checkpoints" / "last.ckpt", "w") as file:
        file.writestr("data", "")
    for _ in range(2):
        with pytest.raises(UserError, match="corrupt"):
            last.get(broken)
    assert last.get(runs / "gen") is not kept
