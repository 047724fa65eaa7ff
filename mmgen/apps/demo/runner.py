"""One demo, or all of them, from an empty folder to a page: each command is printed, then run as if typed."""

import contextlib
import io
import json
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from mmgen.apps.demo.budget import estimate, plan_samples, plan_steps
from mmgen.apps.demo.demo import Demo, Stage
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.metrics import demo_metrics
from mmgen.core.errors import UserError
from mmgen.core.interruption import Interrupted, interrupted_by
from mmgen.core.yaml_text import read_yaml
from mmgen.page.runs import Run
from mmgen.page.wording import duration
from mmgen.store.recipes import recipes_root
from mmgen.store.results import write_json
from mmgen.store.store import CHECKPOINT

METRICS, PAGE = "metrics.json", "index.html"
_VALIDATIONS = 3  # of a generator, evenly over its training
_IDLE = 1.0  # seconds: a quicker stage has nothing to do, and says nothing of the machine
_REPORT = Stage("Draw the page", 10, [])


class DemoRunner:
    """Runs what is still to be done of a demo, and prints the time that is gone and left; see `run_demo`."""

    def __init__(self, demo: Demo, place: Path, end: float, before: float, console: Console) -> None:
        self.demo, self.end, self.console, self.stages = demo, end, console, [*demo.stages, _REPORT]
        self.folder, moved = DemoFolder.claim(place, demo.settings())
        if moved is not None:
            console.print(f"{place} held an earlier demo, which is now in {moved}", markup=False, highlight=False)
        self._begun = time.time() - before - self.folder.record["seconds"]

    @property
    def gone(self) -> float:
        """Seconds of this demo so far, in earlier sessions as well."""
        return time.time() - self._begun

    def run(self) -> None:
        """All stages. Raises UserError where a command is refused, and KeyboardInterrupt with how to continue."""
        if self.demo.data is not None:
            (self.folder.path / "data.yaml").write_text(yaml.safe_dump({"data": self.demo.data}, sort_keys=False))
        try:
            for stage in self.stages:
                self._run_stage(stage)
        except KeyboardInterrupt as stop:
            number = interrupted_by(stop).number
            raise Interrupted(number, f"the same command goes on with {self.folder.path} where it stopped") from None

    def _run_stage(self, stage: Stage) -> None:
        commands = [line for line in stage.commands if line not in self.folder.record["done"]]
        if stage is not _REPORT and not commands:
            return self._print_headline(stage, "done by the interrupted demo")
        begun, left = time.time(), f"about {estimate(self.left(stage))}"
        self._print_headline(stage, f"{duration(self.gone)} gone, {left} left" if self.gone > 1 else f"{left} in all")
        for command in commands:
            try:
                self._run_command(self.fill_in(command, stage))
            except UserError as error:
                if not stage.optional:
                    raise
                self._print(f"left out: {error}")
            self.folder.update(done=[*self.folder.record["done"], command], seconds=round(self.gone, 2))
        if stage is _REPORT:
            self._report()
        seconds, (here, reference) = time.time() - begun, self.folder.record["worked"]
        if seconds > _IDLE and len(commands) == len(stage.commands) and not stage.is_planned:
            self.folder.update(worked=[here + seconds, reference + stage.seconds])
        self._print(f"done in {duration(seconds)}")

    def expect(self, stages: Sequence[Stage]) -> float:
        """Seconds that stages take at the pace of this machine in those before."""
        here, reference = self.folder.record["worked"]
        return (here / reference if reference else 1.0) * sum(stage.seconds for stage in stages)

    def left(self, stage: Stage) -> float:
        """Seconds from a stage to the end; those that are planned fit into the time that is left."""
        seconds = self.expect(self.stages[self.stages.index(stage) :])
        return min(seconds, self.end - time.time()) if self.end > time.time() else seconds

    def fill_in(self, command: str, stage: Stage) -> str:
        """A command with its folder, and with as many steps and samples as there is time for; always the same."""
        lines, later = self.folder.record["lines"], self.stages[self.stages.index(stage) + 1 :]
        if command not in lines:
            line = command.replace("{demo}", shlex.quote(str(self.folder.path)))
            left = self.end - time.time() - self.expect([each for each in later if not each.is_planned])
            if "{steps}" in command:
                needed = self.expect([stage, *(each for each in later if each.is_planned)])
                steps = plan_steps(wanted := stage.steps or recipe_steps(command), left, needed)
                self._print(f"there is time for {steps:,} of {wanted:,} steps")
                line = line.replace("{steps}", str(steps)).replace("{validation}", str(-(-steps // _VALIDATIONS)))
            samples = plan_samples(self.demo.samples, left, self.expect([stage]))
            self.folder.update(lines=lines | {command: line.replace("{samples}", str(samples))})
        return str(self.folder.record["lines"][command])

    def _run_command(self, line: str) -> None:
        """What an interrupted one left is removed, except for the checkpoint of a training, which goes on from it."""
        words = shlex.split(line)[1:]
        output = next((Path(word) for option, word in zip(words, words[1:]) if option in ("--out", "--run")), None)
        if output is not None and output.exists():
            if (output / CHECKPOINT).is_file():
                words += ["--ckpt_path", "last"]
            else:
                shutil.rmtree(output)
        self._show_and_run(words)

    def _show_and_run(self, words: list[str]) -> None:
        self._print(f"$ {shlex.join(['mmgen', *words])}", style="")
        run_command(words)

    def _report(self) -> None:
        runs = [self.folder.path / name for name in self.demo.runs]
        note = f"From nothing to this page in {duration(self.gone)}, the set-up included."
        self._show_and_run(report_command(self.folder.path, runs, [self.demo], [note]))
        write_json(self.folder.path / METRICS, demo_metrics([Run(path, path.name) for path in runs], self.gone))
        self.folder.update(complete=True)

    def _print(self, text: str, style: str = "dim") -> None:
        self.console.print(f"     {text}", style=style, highlight=False, markup=False)

    def _print_headline(self, stage: Stage, text: str) -> None:
        number = f"{self.stages.index(stage) + 1}/{len(self.stages)}"
        self.console.print(f"\n[bold]{number}  {stage.title}[/]  [dim]· {text}[/]", highlight=False)


def recipe_steps(command: str) -> int:
    """Optimiser steps that the recipe of a `mmgen fit` wants."""
    words = shlex.split(command)
    recipe = read_yaml(recipes_root() / words[words.index("--config") + 1])
    return int(recipe["trainer"]["max_steps"])


def report_command(folder: Path, runs: Sequence[Path], demos: Sequence[Demo], notes: Sequence[str]) -> list[str]:
    """The words of `mmgen report` for the page of demos in a folder."""
    texts = [word for demo in demos for word in ("--title", demo.title, "--lead", demo.lead)]
    texts += [word for note in notes for word in ("--note", note)]
    return ["report", *map(str, runs), "--out", str(folder / PAGE), *texts]


def run_command(words: list[str]) -> None:
    """As if typed; only trainings print more than errors and progress bars. Raises UserError where it is refused."""
    from mmgen.apps.cli.main import dispatch

    with contextlib.nullcontext() if words[0] == "fit" else contextlib.redirect_stdout(io.StringIO()):
        dispatch(words)


def run_demo(demo: Demo, place: Path, end: float, before: float, console: Console) -> float:
    """Do all that is still to be done in a folder, which then holds the page and the figures.

    Args:
        demo: its commands.
        place: the folder.
        end: time in seconds since 1970 at which it should be over.
        before: seconds that it took before, such as for the set-up.
        console: where to print.

    Returns:
        Seconds that it took in all, in earlier sessions as well.

    Raises:
        UserError: a command is refused, or the folder holds something else, or cannot be written.
        KeyboardInterrupt: with how to continue.
    """
    runner = DemoRunner(demo, place, end, before, console)
    runner.run()
    return runner.gone


def run_all(demos: dict[str, Demo], place: Path, end: float, before: float, console: Console) -> float:
    """Each demo in a folder of its own in `place`, and there a page of all of them and their figures.

    Finished ones are left as they are. What is left of the time is shared in proportion to what the demos take on the
    reference machine, so that time which one leaves is the others'. Arguments, returns and raises as `run_demo`; and a
    UserError where no demo has the packages that it needs.
    """
    missing = {name: reason for name, demo in demos.items() if (reason := demo.missing())}
    able = {name: demo for name, demo in demos.items() if name not in missing}
    if not able:
        raise UserError(f"no demo can run: {'; '.join(f'{name}: {reason}' for name, reason in missing.items())}")
    folder, _ = DemoFolder.claim(place, {"demos": "all"})
    for name, reason in missing.items():
        console.print(f"{name} is left out: {reason}", markup=False, highlight=False)
    left = {name: demo for name, demo in able.items() if not DemoFolder.is_finished(place / name, demo.settings())}
    for name in able:
        if name not in left:
            console.print(f"\n[bold]{name}[/] is finished in {place / name}, and stays as it is", highlight=False)
            continue
        now = time.time()
        share = max(0.0, end - now) * left[name].seconds / sum(demo.seconds for demo in left.values())
        console.rule(f"{name}: {duration(share)} of {duration(max(0.0, end - now))}")
        run_demo(left.pop(name), place / name, now + share, 0.0, console)
    metrics = {name: json.loads((place / name / METRICS).read_text()) for name in able}
    seconds: float = before + sum(each["total_seconds"] for each in metrics.values())
    notes = [f"From nothing to this page in {duration(seconds)}, the set-up included."]
    notes += [f"{name.capitalize()} is left out: {reason}" for name, reason in missing.items()]
    runs = [place / name / run for name, demo in able.items() for run in demo.runs]
    run_command(report_command(folder.path, runs, list(able.values()), notes))
    write_json(folder.path / METRICS, {"total_seconds": round(seconds, 1), **metrics})
    return seconds
