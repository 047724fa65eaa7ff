import json
from pathlib import Path

import pytest

from mmgen.apps.demo.folder import MARKER, DemoFolder
from mmgen.core.errors import UserError

SETTINGS = {"recipes": {"a": "text"}}


def test_an_interrupted_demo_is_continued(tmp_path: Path) -> None:
    folder, _ = DemoFolder.claim(tmp_path / "demo", SETTINGS)
    folder.finish("mmgen fit", 61.234)
    again, moved = DemoFolder.claim(tmp_path / "demo", SETTINGS)
    assert moved is None
    assert again.record["commands"] == ["mmgen fit"]
    assert again.record["seconds"] == 61.23


def test_a_finished_demo_is_moved_aside_whole(tmp_path: Path) -> None:
    for number in (1, 2):
        folder, _ = DemoFolder.claim(tmp_path / "demo", SETTINGS)
        (folder.path / "index.html").write_text(f"page {number}")
        folder.complete()
    fresh, moved = DemoFolder.claim(tmp_path / "demo", SETTINGS)
    assert moved == tmp_path / "demo-2"
    assert [(tmp_path / f"demo-{n}" / "index.html").read_text() for n in (1, 2)] == ["page 1", "page 2"]
    assert [file.name for file in fresh.path.iterdir()] == [MARKER]


def test_a_demo_of_other_settings_is_moved_aside_too(tmp_path: Path) -> None:
    DemoFolder.claim(tmp_path / "demo", SETTINGS)[0].finish("mmgen fit", 1)
    fresh, moved = DemoFolder.claim(tmp_path / "demo", {"recipes": {"a": "another text"}})
    assert moved == tmp_path / "demo-1"
    assert fresh.record["commands"] == []


@pytest.mark.parametrize("marker", [None, "{", "[]", json.dumps({"made_by": "mmgen demo"}), json.dumps({"stages": {}})])
def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="nothing is overwritten"):
        DemoFolder.claim(tmp_path, SETTINGS)
    assert sorted(tmp_path.iterdir()) == before
