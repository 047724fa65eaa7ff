"""Searching a folder: every file once, however links run, and one line that counts what is left aside."""

import os
import socket
from pathlib import Path

import pytest

from mmgen.data.sources.scan import Kind
from mmgen.data.sources.search import FolderContents, find_files, search_folder

PAGES = Kind("page", frozenset({".page", ".leaf"}))


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_files_of_a_folder_come_before_its_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b/z.page", "b/inner/a.page", "a/X.PAGE", "a/y.leaf", "c.page")
    contents = search_folder(tmp_path, PAGES)
    assert contents.names == ["c.page", "a/X.PAGE", "a/y.leaf", "b/z.page", "b/inner/a.page"]
    assert contents.folders == ["a", "b", "b/inner"][:2]
    assert contents.counts() == {"": 1, "a": 2, "b": 2}


@pytest.mark.parametrize(
    "links",
    [
        {"cat/here": "."},
        {"cat/back": ".."},
        {"cat/a": ".", "cat/b": "."},
        {"cat/above": "../.."},
        {"cat/aside": "../dog"},
        {"ape": "dog"},
        {"cat/first": "second", "cat/second": "first"},
    ],
    ids=lambda links: " ".join(links),
)
def test_links_in_a_circle_give_each_file_once_under_its_own_folder(
    links: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = touch(tmp_path / "root", "cat/0.page", "cat/1.page", "dog/0.page")
    touch(tmp_path, "other/0.page")
    for name, target in links.items():
        link(root / name, target)
    assert find_files(root, PAGES) == ["cat/0.page", "cat/1.page", "dog/0.page"]
    (line,) = caplog.messages
    assert line.startswith(f"{root}: {len(links)} left aside: {len(links)} link(s) to ")
    assert next(iter(links)) in line


def test_a_folder_elsewhere_is_entered_by_the_first_link_alone(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/x.page", "elsewhere/deep/y.page", "root/dog/0.page")
    link(tmp_path / "elsewhere" / "deep" / "up", "..")
    for name in ("b", "a"):
        link(tmp_path / "root" / name, tmp_path / "elsewhere")
    contents = search_folder(tmp_path / "root", PAGES)
    assert contents.names == ["a/x.page", "a/deep/y.page", "dog/0.page"]
    assert contents.left_aside.counts == {"link(s) to a folder read already": 2}


def test_what_is_left_aside_is_counted_by_its_reason_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a/0.page", "a/0.txt", "a/x.heic", "a/y.HEIC", "a/nothing", "a/._0.page", "a/.DS_Store")
    touch(tmp_path, "a/@eaDir/0.page/thumb.page", "__MACOSX/a/._0.page", ".git/index", "Thumbs.db")
    os.mkfifo(tmp_path / "a" / "pipe.page")
    link(tmp_path / "a" / "gone.page", "nowhere")
    link(tmp_path / "a" / "round.page", "round.page")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a" / "socket.page"))
    assert find_files(tmp_path, PAGES, companions=(".txt",)) == ["a/0.page"]
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}: 11 left aside: ")
    for part in (
        "2 file(s) with the suffix .heic (a/x.heic)",
        "1 file(s) without a suffix (a/nothing)",
        "1 hidden file(s) (a/._0.page)",
        "2 folder(s) of a system (__MACOSX)",
        "1 hidden folder(s) (.git)",
        "2 pipe(s), socket(s) or device(s) (a/pipe.page)",
        "2 link(s) to nothing (a/gone.page)",
    ):
        assert part in line or line.endswith("..."), part


def test_nothing_is_reported_where_nothing_is_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    find_files(touch(tmp_path, "a/0.page", "a/0.txt", ".DS_Store"), PAGES, companions=(".txt",))
    assert not caplog.messages


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/0.page", "b/0.page")
    scan = os.scandir

    def refuse(path: Path) -> object:  # root, whom tests may run as, may read anything
        if path.name == "b":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_files(tmp_path, PAGES) == ["a/0.page"]
    assert caplog.messages == [f"{tmp_path}: 1 left aside: 1 folder(s) that cannot be read: Permission denied (b)"]


def test_folders_within_are_counted_where_they_are_not_searched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_files(touch(tmp_path, "0.page", "a/1.page"), PAGES, deep=False) == ["0.page"]
    assert caplog.messages == [f"{tmp_path}: 1 left aside: 1 folder(s) (a)"]


def test_the_one_folder_around_several(tmp_path: Path) -> None:
    def contents(*names: str) -> FolderContents:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        return search_folder(touch(root, *names), PAGES)

    assert contents("all/a/0.page", "all/b/0.page").wrapper() == "all"
    assert contents("all/in/a/0.page", "all/in/b/c/0.page").wrapper() == "all/in"
    assert contents("all/a/0.page").wrapper() == "all"
    assert contents("all/a/0.page", "all/b/0.page").within("all").names == ["a/0.page", "b/0.page"]
    for names in (["a/0.page"], ["a/0.page", "b/0.page"], ["all/a/0.page", "x.page"], ["all/a/0.page", "all/0.page"]):
        assert contents(*names).wrapper() == ""
