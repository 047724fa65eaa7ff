import inspect
import io
import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmgen.apps.cli.main import COMMANDS, command_module, main
from mmgen.apps.demo import demo as files
from mmgen.apps.demo import runner
from mmgen.apps.demo.demo import NAMES, Demo, Stage, demos, expand
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.runner import DemoRunner, run_all, run_demo
from mmgen.core.errors import UserError
from mmgen.sampling.options import SAMPLING
from mmgen.store.recipes import recipes_root

QUIET = Console(quiet=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_is_a_list_of_commands_that_anyone_could_type_and_fits_into_ten_minutes(name: str) -> None:
    demo = demos()[name]
    assert demo.seconds <= 600 and demo.needs and not demo.missing()
    lines = demo.settings()["commands"]
    assert [sum(mark in line for line in lines) > 0 for mark in ("{steps}", "{validation}", "{samples}")] == [True] * 3
    for line in lines:
        program, command, *words = shlex.split(line)
        assert program == "mmgen" and command in COMMANDS
        for config in re.findall(r"--config (\S+)", line):
            assert (recipes_root() / config).is_file()
        if command != "fit":
            function = command_module(command).run
            known = {each.rstrip("_") for each in inspect.signature(function).parameters}
            assert {word[2:] for word in words if word.startswith("--")} <= known | set(SAMPLING)


def test_choices_of_a_line_go_in_step() -> None:
    assert expand("sample [ar|masked] --out a/[x|y]") == ["sample ar --out a/x", "sample masked --out a/y"]
    assert expand("tokenize") == ["tokenize"]


STAGES = [
    Stage("Train", 10, ["mmgen fit --config a.yaml --run {demo}/tokenizer"]),
    Stage("Sample", 10, ["mmgen sample {demo}/generator --out {demo}/out"], optional=True),
]


def tiny(name: str = "tiny", stages: list[Stage] = STAGES, needs: dict[str, str] | None = None) -> Demo:
    demo = Demo(name, f"Title of {name}", "A lead.", needs or {}, [40, 4], ["tokenizer"], stages)
    object.__setattr__(demo, "settings", lambda: {"name": name, "commands": [stage.commands for stage in stages]})
    return demo


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run, instead of running it; `report` leaves a page."""
    ran: list[list[str]] = []

    def note(words: list[str]) -> None:
        ran.append(words)
        if words[0] == "report":
            Path(words[words.index("--out") + 1]).write_text("the page")

    monkeypatch.setattr(runner, "run_command", note)
    monkeypatch.setattr(runner, "Run", lambda path, name: None)
    monkeypatch.setattr(runner, "demo_metrics", lambda runs, seconds: {"total_seconds": 100.0})
    return ran


def test_an_interrupted_demo_is_continued_command_by_command(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, run = tmp_path / "demo", runner.run_command

    def interrupted(words: list[str]) -> None:
        if words[0] == "sample":
            (place / "out").mkdir()
            raise KeyboardInterrupt
        run(words)

    monkeypatch.setattr(runner, "run_command", interrupted)
    with pytest.raises(KeyboardInterrupt, match="the same command goes on with"):
        run_demo(tiny(), place, 1e12, 7.0, QUIET)
    monkeypatch.setattr(runner, "run_command", run)
    printed = io.StringIO()
    run_demo(tiny(), place, 1e12, 7.0, Console(file=printed, width=200))
    assert "1/3  Train  · done by the interrupted demo" in printed.getvalue()
    assert [words[0] for words in commands] == ["fit", "sample", "report"]
    assert not (place / "out").exists()  # what the interrupted command left is removed
    assert (place / "index.html").read_text() == "the page"
    assert json.loads((place / "metrics.json").read_text()) == {"total_seconds": 100.0}
    note = commands[-1][commands[-1].index("--note") + 1]
    assert re.fullmatch(r"From nothing to this page in [\d.]+ s, the set-up included.", note)


def test_a_training_goes_on_from_its_checkpoint(commands: list[list[str]], tmp_path: Path) -> None:
    checkpoint = tmp_path / "demo" / "tokenizer" / "checkpoints" / "last.ckpt"
    DemoFolder.claim(tmp_path / "demo", tiny().settings())
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    run_demo(tiny(), tmp_path / "demo", 1e12, 0.0, QUIET)
    assert commands[0][-2:] == ["--ckpt_path", "last"] and checkpoint.exists()


def test_an_optional_stage_that_is_refused_is_reported_and_left_out(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner.run_command

    def refuse(words: list[str]) -> None:
        if words[0] == refused:
            raise UserError("the recogniser is missing")
        run(words)

    monkeypatch.setattr(runner, "run_command", refuse)
    refused = "sample"
    run_demo(tiny(), tmp_path / "demo", 1e12, 0.0, Console())
    assert "left out: the recogniser is missing" in capsys.readouterr().out
    refused = "fit"
    with pytest.raises(UserError, match="the recogniser is missing"):
        run_demo(tiny("another"), tmp_path / "another", 1e12, 0.0, QUIET)


def test_steps_and_samples_fit_into_the_time_at_the_pace_of_the_stages_before(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, run, printed = [1000.0], runner.run_command, io.StringIO()
    seconds = {"fit": 300.0, "sample": 30.0, "report": 5.0}

    def take_time(words: list[str]) -> None:
        now[0] += 0.5 if "cached" in words else seconds[words[0]]
        run(words)

    monkeypatch.setattr(runner, "run_command", take_time)
    monkeypatch.setattr(runner, "recipe_steps", lambda command: 3000)
    stages = [
        Stage("Warm up", 10, ["mmgen sample"]),
        Stage("Look up", 10, ["mmgen sample cached"]),
        Stage("Train", 200, ["mmgen fit --steps {steps} --validation {validation}"]),
        Stage("Measure", 20, ["mmgen sample --num {samples}"]),
    ]
    monkeypatch.setattr(time, "time", lambda: now[0])
    demo = DemoRunner(tiny("slow", stages), tmp_path / "demo", 1430.5, 0.0, Console(file=printed, width=200))
    demo.run()
    # 3 times as slow as the reference machine; 3 x (20 + 10) of 400 s are for what follows the training.
    assert commands[2] == ["fit", "--steps", "1260", "--validation", "420"]
    assert commands[3] == ["sample", "--num", "40"]
    assert (demo.gone, demo.folder.record["worked"]) == (365.5, [65.0, 40.0])
    text = printed.getvalue()
    for line in ("1/5  Warm up  · about 4 min in all", "3/5  Train  · 30 s gone, about 6.5 min left", "done in 30 s"):
        assert line in text


def test_all_demos_share_the_time_and_what_is_finished_stays(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[float] = []
    run = runner.run_demo

    def note(demo: Demo, place: Path, end: float, *rest: Any) -> float:
        ends.append(end - time.time())
        return run(demo, place, end, *rest)

    monkeypatch.setattr(runner, "run_demo", note)
    speech = tiny("speech", needs={"no_such_package": "extra"})
    known = {"image": tiny("image"), "video": tiny("video"), "speech": speech}
    assert run_all(known, tmp_path / "all", time.time() + 600, 7.0, QUIET) == pytest.approx(207, abs=1)
    assert ends == pytest.approx([300, 600], abs=5)
    page = commands[-1]
    assert page.count("--title") == 2 and "Speech is left out: the demo needs the package no_such_package" in str(page)
    metrics = json.loads((tmp_path / "all" / "metrics.json").read_text())
    assert metrics["total_seconds"] == pytest.approx(207, abs=1) and set(metrics) == {"total_seconds", "image", "video"}
    before = len(commands)
    run_all(known, tmp_path / "all", time.time() + 600, 7.0, QUIET)
    assert [words[0] for words in commands[before:]] == ["report"]
    with pytest.raises(UserError, match="no demo can run: speech: the demo needs the package"):
        run_all({"speech": speech}, tmp_path / "none", 0.0, 0.0, QUIET)


def test_a_mistake_is_one_line_and_nothing_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    missing: Any = {"speech": tiny("speech", needs={"no_such_package": "extra"}), "image": demos()["image"]}
    monkeypatch.setattr(files, "demos", lambda: missing)
    for words, text in (
        (["--out", str(mine.parent)], "is not empty, and nothing is overwritten"),
        (["--out", str(mine)], "is a file, and a folder is needed"),
        (["--minutes", "0"], "must be above 0"),
        (["--what", "smell"], "smell"),
        (["speech"], "needs the package no_such_package: pip install 'mmgen[extra]'"),
    ):
        assert main(["demo", *words]) == 2
        error = capsys.readouterr().err
        assert text in error and error.count("\n") == 1
    assert mine.read_text() == "years of work"
