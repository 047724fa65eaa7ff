import json
from pathlib import Path

import pytest

from mmgen.apps.demo.folder import MARKER, DemoFolder
from mmgen.core.errors import UserError

SETTINGS = {"recipes": {"a": "text"}}


def test_an_interrupted_demo_is_continued(tmp_path: Path) -> None:
    DemoFolder.claim(tmp_path / "demo", SETTINGS)[0].update(done=["mmgen fit"], seconds=61.23)
    again, moved = DemoFolder.claim(tmp_path / "demo", SETTINGS)
    assert moved is None
    assert (again.record["done"], again.record["seconds"]) == (["mmgen fit"], 61.23)


def test_a_finished_demo_and_one_of_other_settings_are_moved_aside_whole(tmp_path: Path) -> None:
    for number, complete in ((1, True), (2, False)):
        folder, _ = DemoFolder.claim(tmp_path / "demo", SETTINGS)
        (folder.path / "index.html").write_text(f"page {number}")
        folder.update(complete=complete)
    fresh, moved = DemoFolder.claim(tmp_path / "demo", {"recipes": {"a": "another text"}})
    assert moved == tmp_path / "demo-2"
    assert [(tmp_path / f"demo-{n}" / "index.html").read_text() for n in (1, 2)] == ["page 1", "page 2"]
    assert [file.name for file in fresh.path.iterdir()] == [MARKER] and not fresh.record["done"]


@pytest.mark.parametrize("marker", [None, "{", "[]", json.dumps({"made_by": "mmgen demo"}), json.dumps({"stages": {}})])
def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="nothing is overwritten"):
        DemoFolder.claim(tmp_path, SETTINGS)
    assert sorted(tmp_path.iterdir()) == before
