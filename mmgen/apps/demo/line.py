"""The way from data to a trained generator, which a demo goes once or several times: tokenizer, tokens, generator."""

import contextlib
import io
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mmgen.apps.demo.budget import Measured, Plan, plan
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.settings import Settings, repeating
from mmgen.apps.demo.stages import Walk
from mmgen.data.build import source_section
from mmgen.page.collect import logged
from mmgen.page.page import duration
from mmgen.store.recipes import recipes_root
from mmgen.store.store import CHECKPOINT, Loaded, Saved, load_generator

VALIDATIONS = 3
"""Of the generator, evenly over its training."""


class Line(ABC):
    """A tokenizer and a generator of its tokens, from their recipes to their runs.

    Args:
        settings: what to do.
        folder: where.
        walk: tells the time.
        prefix: before the names of its stages and of what it leaves in the folder, where a demo has several.
    """

    def __init__(self, settings: Settings, folder: DemoFolder, walk: Walk, prefix: str = "") -> None:
        self.settings, self.folder, self.walk, self.prefix = settings, folder, walk, prefix
        self.commands: list[str] = []

    @abstractmethod
    def sampling_seconds(self, loaded: Loaded, count: int) -> tuple[float, float]:
        """Seconds a sample, summed over all modes, and seconds that sampling takes besides, whatever the number.

        Args:
            loaded: a generator that was trained for a few steps.
            count: samples to time, in each mode.
        """

    def key(self, name: str) -> str:
        """The name of a stage, and of the folder that it leaves."""
        return f"{self.prefix}{name}"

    def _fit(self, name: str, recipe: str, options: list[str]) -> None:
        """A run in the demo's folder, `tokenizer` or `generator`; an interrupted one goes on where its last checkpoint
        was.
        """
        from mmgen.apps.cli import fit  # lightning

        key = self.key(name)
        words = ["--config", recipe, *options, "--run", str(self._path(name))]
        self.commands.append(" ".join(["mmgen fit", *words]))
        checkpoint = self._path(name) / CHECKPOINT
        if self.folder.found(key) is not None and checkpoint.is_file():
            return self.walk.skip(key)
        with self.walk.stage(key):
            if checkpoint.is_file():
                words += ["--ckpt_path", "last"]
            else:
                self.folder.free(key)
            fit.run("fit", words)
        self.folder.finish(key, self.walk.gone)

    def _data_of_tokens(self) -> Path | None:
        """A file that says what becomes tokens; None where that is what the tokenizer was trained on."""
        options = self.settings.data_options
        if options is None:
            return None
        source = source_section(self._recipe())
        source = source | {"init_args": (source.get("init_args") or {}) | options}
        file = self.folder.path / f"{self.key('data')}.yaml"
        data = {"class_path": "DataModule", "init_args": {"source": source}}
        file.write_text(yaml.safe_dump({"data": data}, sort_keys=False))
        return file

    def _tokenize(self, data: Path | None) -> None:
        from mmgen.apps.cli import tokenize

        named = None if data is None else str(data)
        key, path = self.key("tokens"), str(self._path("tokenizer"))
        out = self._path("tokens")
        self.commands.append(repeating("tokenize", tokenize.run, tokenizer=path, out=str(out), data=named))
        if self.folder.found(key) is not None and out.is_dir():
            return self.walk.skip(key)
        with self.walk.stage(key), hushed():
            tokenize.run(path, out=str(self.folder.free(key)), data=named)
        self.folder.finish(key, self.walk.gone)

    def _calibrate(self) -> Plan:
        """How many steps and samples there is time for."""
        found = self.folder.found("calibration")
        if found is not None:
            self.walk.skip("calibration")
            planned = Plan(**found)
        else:
            with self.walk.stage("calibration"), hushed():
                measured = self._timed()
            left, wanted = self.walk.end - self.walk.clock(), self._wanted()
            planned = plan(left, wanted, measured, self.walk.needs("page"), self.settings.samples)
            self.folder.finish("calibration", self.walk.gone, **vars(planned))
            self.walk.tell(
                f"a step takes {duration(measured.step)}, a sample in every mode {duration(measured.sample)}: time for"
                f" {planned.steps:,} of the recipe's {wanted:,} steps and {planned.samples} samples a mode"
            )
        self._expect(planned)
        return planned

    def _expect(self, planned: Plan) -> None:
        """Tell the walk how long the planned stages will take."""
        self.walk.expect("generator", planned.training)
        self.walk.expect("samples", planned.sampling)

    def _timed(self) -> Measured:
        """What the plan is made by."""
        return self._time()

    def _time(self) -> Measured:
        """Trains a generator for a few steps, samples it, and throws it away."""
        from mmgen.apps.cli import fit  # lightning

        settings, path = self.settings, self.folder.free(self.key("calibration"))
        steps, samples = settings.timed_steps, settings.timed_samples
        short = {
            "trainer.max_steps": steps,
            "trainer.val_check_interval": steps,
            "trainer.log_every_n_steps": steps // 2,
        }
        quick = {"model.lr_scheduler.warmup_steps": 0, "samples.count": 0, "run": path}
        words = ["--config", settings.generator, *self._data(), *settings.generator_options]
        started = time.perf_counter()
        fit.run("fit", words + [f"--{name}={value}" for name, value in (short | quick).items()])
        fitted = time.perf_counter() - started
        loaded = load_generator(path)
        rates = [row["train/tokens_per_second"] for row in logged(path) if "train/tokens_per_second" in row]
        batch = Saved.read(path).config["data"]["init_args"]["global_batch_size"]
        step = batch * loaded.spec.length / rates[-1]
        sample, always = self.sampling_seconds(loaded, samples)
        self.folder.free(self.key("calibration"))
        beside = max(0.0, fitted - steps * step)  # start, one validation, one checkpoint
        return Measured(step, VALIDATIONS * beside, sample, always)

    def _path(self, name: str) -> Path:
        return self.folder.path / self.key(name)

    def _data(self) -> list[str]:
        return ["--data.source", "CachedTokens", "--data.source.path", str(self._path("tokens"))]

    def _generator_options(self, planned: Plan) -> list[str]:
        every = -(-planned.steps // VALIDATIONS)
        steps = [f"--trainer.max_steps={planned.steps}", f"--trainer.val_check_interval={every}"]
        return [*self._data(), *self.settings.generator_options, *steps]

    def _wanted(self) -> int:
        """The recipe's steps, or those that the options name."""
        given = [word.partition("=") for word in self.settings.generator_options]
        wanted: int = self._recipe()["trainer"]["max_steps"]
        return next((int(value) for name, _, value in given if name == "--trainer.max_steps"), wanted)

    def _recipe(self) -> dict[str, Any]:
        """The generator's."""
        recipe: dict[str, Any] = yaml.safe_load((recipes_root() / self.settings.generator).read_text())
        return recipe


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """What a command prints stays unseen; its errors do not."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
