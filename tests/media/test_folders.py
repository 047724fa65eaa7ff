from pathlib import Path

import pytest

from mmgen.core.errors import UserError
from mmgen.media.folders import new_folder, next_free


def test_it_is_made_with_its_parents_and_may_be_there_if_empty(tmp_path: Path) -> None:
    for _ in range(2):
        assert new_folder(tmp_path / "a" / "b").is_dir()


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is not empty, and nothing is overwritten"):
        new_folder(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        new_folder(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be made: Not a directory"):
        new_folder(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_without_permission_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root, whom tests may run as, may write anywhere
    with pytest.raises(UserError, match="may not be written to"):
        new_folder(tmp_path / "locked")


def test_the_next_free_number(tmp_path: Path) -> None:
    assert next_free(tmp_path / "samples") == tmp_path / "samples" / "000"
    for name in ("000", "001", "003"):
        (tmp_path / "samples" / name).mkdir(parents=True)
    assert next_free(tmp_path / "samples") == tmp_path / "samples" / "002"
