"""All demos in one go, with demos that take no time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from markupsafe import Markup
from rich.console import Console

from mmgen.apps.cli.main import main
from mmgen.apps.demo import kinds
from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.every import walk_through_all
from mmgen.apps.demo.stages import Stage
from mmgen.core.errors import UserError
from mmgen.page.page import Page, Picture, Section
from tests.page.elements import Elements, text

HERO = Picture("data:image/webp;base64,", "nothing at all", 1, 1)


class Settings:
    """Of a demo that does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def record(self) -> dict[str, Any]:
        return {"name": self.name}


class Findings:
    """Of the same."""

    def __init__(self, name: str) -> None:
        self.name = name

    def figures(self, seconds: float) -> dict[str, Any]:
        return {"total_seconds": 100.0, "of": self.name}

    def page(self, seconds: Callable[[], float]) -> Page:
        section = Section("metrics", "Metrics", Markup("<p>what was found about {}</p>").format(self.name))
        return Page(f"Title of {self.name}", "A lead.", HERO, [], {}, [f"mmgen {self.name}"], [section], "mmgen demo")


def stub(name: str, seconds: float, ran: list[tuple[str, float]], package: str | None = None) -> type[Demo]:
    """A demo that notes that it ran, and for how many more seconds it might have."""

    class Stub(Demo):
        needs: ClassVar = {} if package is None else {package: "extra"}
        settings_class: ClassVar[Any] = staticmethod(lambda: Settings(name))
        stages: ClassVar = [Stage("generator", "Train", seconds - 1), Stage("page", "Draw", 1.0)]

        def run(self) -> Any:
            ran.append((name, self.walk.end - self.walk.clock()))
            return Findings(name)

        def look(self, source: Any) -> None:
            raise AssertionError

        def find(self, source: Any, loaded: Any, planned: Any) -> Any:
            raise AssertionError

        def sampling_seconds(self, loaded: Any, count: int) -> tuple[float, float]:
            raise AssertionError

    return Stub


@pytest.fixture
def ran() -> list[tuple[str, float]]:
    return []


def walk(found: dict[str, type[Demo]], place: Path, seconds: float = 600.0) -> float:
    import time

    return walk_through_all(found, place, time.time() + seconds, 7.0, Console(quiet=True))


def test_each_gets_its_share_of_what_is_left_and_its_chapter(ran: list[tuple[str, float]], tmp_path: Path) -> None:
    found = {"image": stub("image", 100, ran), "video": stub("video", 200, ran), "motion": stub("motion", 300, ran)}
    assert walk(found, tmp_path / "all") == pytest.approx(307.0, abs=1)
    assert [name for name, _ in ran] == list(found)
    # 100 of 600; the rest of it is the others', who took no time either: 200 of 500, and all that is left.
    assert [left for _, left in ran] == pytest.approx([100.0, 240.0, 600.0], abs=3)
    page = (tmp_path / "all" / "index.html").read_text()
    assert [each["id"] for each in Elements(page).named("section")] == [
        "image-metrics",
        "video-metrics",
        "motion-metrics",
    ]
    assert all(f"what was found about {name}" in text(page) for name in found)
    assert all((tmp_path / "all" / name / "index.html").is_file() for name in found)
    metrics = json.loads((tmp_path / "all" / "metrics.json").read_text())
    assert metrics["total_seconds"] == 307.0
    assert {name: metrics[name]["of"] for name in found} == {name: name for name in found}


def test_what_is_finished_is_kept_and_what_was_interrupted_goes_on(
    ran: list[tuple[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"image": stub("image", 100, ran), "video": stub("video", 300, ran)}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(found["video"], "run", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"goes on with .*video where it stopped"):
            walk(found, tmp_path / "all")
    assert [name for name, _ in ran] == ["image"]
    assert not (tmp_path / "all" / "index.html").exists()
    walk(found, tmp_path / "all")
    assert [name for name, _ in ran] == ["image", "video"]
    assert ran[1][1] == pytest.approx(600.0, abs=3)  # nothing is put aside for what is finished
    before = (tmp_path / "all" / "index.html").read_text()
    walk(found, tmp_path / "all")  # nothing is left to be done
    assert len(ran) == 2
    assert (tmp_path / "all" / "index.html").read_text() == before
    other = {"image": found["image"], "video": stub("another", 300, ran)}
    walk(other, tmp_path / "all")  # with other settings it is made anew, and the old one is never lost
    assert [name for name, _ in ran] == ["image", "video", "another"]
    assert (tmp_path / "all" / "video-1" / "index.html").is_file()


def test_what_cannot_run_is_named_and_left_out(
    ran: list[tuple[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"image": stub("image", 100, ran), "speech": stub("speech", 100, ran, "no_such_package")}
    told = "speech is left out: the demo needs the package no_such_package: pip install 'mmgen[extra]'"
    monkeypatch.setattr(kinds, "KINDS", found)
    monkeypatch.delenv("MMGEN_DEMO_STARTED", raising=False)
    assert main(["demo", "all", "--out", str(tmp_path / "all")]) == 0
    assert told in capsys.readouterr().out
    assert [name for name, _ in ran] == ["image"]
    assert ran[0][1] == pytest.approx(28 * 60, abs=5)  # minutes that all may take
    assert "Speech is left out: the demo needs the package no_such_package" in text(
        (tmp_path / "all" / "index.html").read_text()
    )
    assert not (tmp_path / "all" / "speech").exists()
    assert main(["demo", "speech", "--out", str(tmp_path / "alone")]) == 2
    assert "needs the package no_such_package" in capsys.readouterr().err
    assert not (tmp_path / "alone").exists()
    with pytest.raises(UserError, match="no demo can run: speech: the demo needs the package"):
        walk({"speech": found["speech"]}, tmp_path / "none")


def test_a_folder_of_something_else_is_not_touched(ran: list[tuple[str, float]], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not empty"):
        walk({"image": stub("image", 100, ran)}, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"] and not ran


def test_every_demo_says_what_it_needs() -> None:
    for kind in kinds.KINDS.values():
        assert kind.needs and not kind.lacking()
