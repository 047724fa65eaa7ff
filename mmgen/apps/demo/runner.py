"""One demo, or all of them, from an empty folder to a page: each command is printed, then run as if typed."""

import contextlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml
from rich.console import Console

from mmgen.apps.demo.demo import CALIBRATION, Demo, Stage
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.metrics import demo_metrics
from mmgen.apps.demo.plan import Costs, Plan, make_plan
from mmgen.apps.demo.timer import StageTimer
from mmgen.core.errors import UserError
from mmgen.page.page import duration
from mmgen.page.runs import Run
from mmgen.store.recipes import recipes_root
from mmgen.store.results import write_json
from mmgen.store.store import CHECKPOINT

METRICS, PAGE = "metrics.json", "index.html"
_VALIDATIONS = 3
"""Of a generator, evenly over its training."""
_REPORT = Stage("page", "Draw the page", 10, [])
_OUTPUT = re.compile(r"--(?:out|run) (\S+)")


class DemoRunner:
    """Runs what is still to be done of a demo.

    Args:
        demo: its commands.
        folder: where.
        timer: plans by it, and tells the time.
        console: where commands are printed.
    """

    def __init__(self, demo: Demo, folder: DemoFolder, timer: StageTimer, console: Console) -> None:
        self.demo, self.folder, self.timer, self.console = demo, folder, timer, console
        self.plan = Plan(**folder.record["plan"]) if folder.record["plan"] else None
        self._fit_seconds: dict[str, float] = {}

    def run(self) -> None:
        """All stages. Raises UserError where a command is refused, and KeyboardInterrupt with how to continue."""
        if self.demo.data is not None:
            (self.folder.path / "data.yaml").write_text(yaml.safe_dump({"data": self.demo.data}, sort_keys=False))
        try:
            for stage in self.demo.stages:
                self._run_stage(stage)
                if stage.name == CALIBRATION and self.plan is None:
                    self._make_plan()
                if stage.name == CALIBRATION:
                    self._expect()
            self._report()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"the same command goes on with {self.folder.path} where it stopped") from None

    def _run_stage(self, stage: Stage) -> None:
        commands = [self.filled_in(line) for line in stage.commands]
        if all(line in self.folder.record["commands"] for line in commands):
            return self.timer.skip(stage)
        with self.timer.stage(stage):
            for line in commands:
                if line in self.folder.record["commands"]:
                    continue
                try:
                    self._run_command(line)
                except UserError as error:
                    if not stage.optional:
                        raise
                    self.timer.remark(f"left out: {error}")
                self.folder.finish(line, self.timer.gone)

    def filled_in(self, command: str) -> str:
        """A command with its folder, steps and samples."""
        values = {"demo": shlex.quote(str(self.folder.path))}
        if self.plan is not None:
            values |= {"samples": str(self.plan.samples)}
            if "{steps}" in command:
                steps = self.plan.steps(wanted_steps(command))
                values |= {"steps": str(steps), "validation": str(-(-steps // _VALIDATIONS))}
        for name, value in values.items():
            command = command.replace(f"{{{name}}}", value)
        return command

    def _run_command(self, line: str) -> None:
        """What an interrupted one left is removed, except for the checkpoint of a training, which goes on from it."""
        words = shlex.split(line)[1:]
        output = next((Path(shlex.split(each)[0]) for each in _OUTPUT.findall(line)), None)
        if output is not None and output.exists():
            if (output / CHECKPOINT).is_file():
                words += ["--ckpt_path", "last"]
            else:
                shutil.rmtree(output)
        self.console.print(f"     $ {shlex.join(['mmgen', *words])}", highlight=False, markup=False)
        begun = self.timer.clock()
        with contextlib.nullcontext() if words[0] == "fit" else silenced():
            run_command(words)
        if words[0] == "fit" and output is not None:
            self._fit_seconds[output.name] = self.timer.clock() - begun

    def _make_plan(self) -> None:
        costs, rest = self._costs(), self.timer.needed(*self._after("samples"), _REPORT.name)
        self.plan = make_plan(self.timer.end - self.timer.clock(), costs, rest, self.demo.samples)
        self.folder.record["plan"] = vars(self.plan)
        self.folder.write()
        self.timer.remark(
            f"all steps of the recipes would take {duration(costs.training)}, a sample in every mode"
            f" {duration(costs.sample)}: time for {100 * self.plan.share:.0f} % of the steps and"
            f" {self.plan.samples} samples a mode"
        )

    def _costs(self) -> Costs:
        """What calibration took, as its runs and its records tell."""
        training, sample = 0.0, self.demo.listening_seconds
        for name in self._calibrations():
            run = Run.read(self.folder.path / name, name)
            rate = run.logged("train/tokens_per_second")[-1][1]
            generator = next(line for line in self._training_commands() if _config(line) == self._config_of(name))
            step = run.config["data"]["init_args"]["global_batch_size"] * run.spec.length / rate
            # Start, validation and checkpoint: all that the short training took beside its steps.
            rest = max(0.0, self._fit_seconds.get(name, 0.0) - run.step * step)
            training += wanted_steps(generator) * step + _VALIDATIONS * rest
            for folder in run.samples:
                sample += folder.record["seconds"] / folder.record["samples"]
        return Costs(training, sample)

    def _expect(self) -> None:
        assert self.plan is not None
        training = self._training_commands()
        weights = {stage.name: stage.seconds for stage in self.demo.stages if set(stage.commands) & set(training)}
        for name, seconds in weights.items():
            self.timer.expect(name, self.plan.training * seconds / sum(weights.values()))
        self.timer.expect("samples", self.plan.sampling + self.demo.seconds * 0.02)

    def _training_commands(self) -> list[str]:
        return [line for stage in self.demo.stages for line in stage.commands if "{steps}" in line]

    def _calibrations(self) -> list[str]:
        lines = next(stage.commands for stage in self.demo.stages if stage.name == CALIBRATION)
        return [Path(match).name for line in lines if " fit " in line for match in re.findall(r"--run (\S+)", line)]

    def _config_of(self, name: str) -> str:
        lines = next(stage.commands for stage in self.demo.stages if stage.name == CALIBRATION)
        return next(_config(line) for line in lines if " fit " in line and line.endswith(f"/{name}"))

    def _after(self, name: str) -> list[str]:
        names = [stage.name for stage in self.demo.stages]
        return names[names.index(name) + 1 :]

    def _report(self) -> None:
        with self.timer.stage(_REPORT):
            runs = [str(self.folder.path / name) for name in self.demo.runs]
            note = f"From nothing to this page in {duration(self.timer.gone)}, the set-up included."
            words = ["report", *runs, "--out", str(self.folder.path / PAGE), "--title", self.demo.title]
            words += ["--lead", self.demo.lead, "--note", note]
            self.console.print(f"     $ {shlex.join(['mmgen', *words])}", highlight=False, markup=False)
            with silenced():
                run_command(words)
        metrics = demo_metrics([Run.read(Path(path), Path(path).name) for path in runs], self.timer.gone)
        write_json(self.folder.path / METRICS, metrics)
        self.folder.complete()


def run_command(words: list[str]) -> None:
    """As if typed. Raises UserError where it is refused."""
    from mmgen.apps.cli.main import dispatch

    dispatch(words)


def run_demo(demo: Demo, place: Path, end: float, before: float, console: Console) -> float:
    """Do all that is still to be done; the folder then holds the page and the figures.

    Args:
        demo: its commands.
        place: its folder.
        end: time in seconds since 1970 at which it should be over.
        before: seconds that it took before, such as for the set-up.
        console: where to tell.

    Returns:
        Seconds that it took in all, in earlier sessions as well.

    Raises:
        UserError: a command is refused, or the folder holds something else, or cannot be written.
        KeyboardInterrupt: with how to continue.
    """
    folder, moved = DemoFolder.claim(place, demo.settings())
    if moved is not None:
        console.print(f"{place} held an earlier demo, which is now in {moved}", highlight=False)
    timer = StageTimer([*demo.stages, _REPORT], end, before + folder.record["seconds"], console)
    DemoRunner(demo, folder, timer, console).run()
    return timer.gone


def wanted_steps(command: str) -> int:
    """Optimiser steps that the recipe of `mmgen fit` wants."""
    recipe = yaml.safe_load((recipes_root() / _config(command)).read_text())
    return int(recipe["trainer"]["max_steps"])


def _config(command: str) -> str:
    words = shlex.split(command)
    return words[words.index("--config") + 1]


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """What a command prints is not shown; its errors and progress bars are."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
