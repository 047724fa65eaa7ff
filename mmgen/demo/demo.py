"""What the demos of all modalities do: from real data to tokens, from tokens to a generator, in a given time.

Every stage calls what its command calls, and the page says which command that is.
"""

import contextlib
import io
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

from mmgen.cli.options import sample_options
from mmgen.data.build import open_source
from mmgen.data.sources import Source
from mmgen.demo.budget import Measured, Plan, plan
from mmgen.demo.findings import Findings
from mmgen.demo.folder import DemoFolder
from mmgen.demo.settings import Settings, repeating
from mmgen.demo.stages import Stage, Walk
from mmgen.gallery.collect import logged
from mmgen.gallery.page import duration
from mmgen.paradigms import SampleOptions
from mmgen.recipes import recipes_root
from mmgen.store import CHECKPOINT, Loaded, Saved, load_generator

VALIDATIONS = 3
"""Of the generator, evenly over its training."""


class Demo(ABC):
    """A demo's work, a method a stage.

    A modality says which stages it has, and fills in what is its own: `look`, `sampling_seconds` and `find`.

    Args:
        settings: what to do.
        folder: where.
        walk: tells the time.
    """

    stages: ClassVar[list[Stage]]
    """All of them in order: those that `run` does by itself (`tokenizer`, `tokens`, `calibration`, `generator`), the
    modality's own, and `page`. Their seconds are those of two cores of our reference machine."""

    settings_class: ClassVar[Callable[[], Settings]]
    """Makes the settings of the demo that a person asks for."""

    def __init__(self, settings: Settings, folder: DemoFolder, walk: Walk) -> None:
        self.settings, self.folder, self.walk = settings, folder, walk
        self.commands: list[str] = []

    def run(self) -> Findings:
        """All stages but the last, which is to tell of them."""
        self._fit("tokenizer", self.settings.tokenizer, list(self.settings.tokenizer_options))
        data = self._data_of_tokens()
        source = open_source(str(self._path("tokenizer") if data is None else data))
        self.look(source)
        self._tokenize(data)
        planned = self._calibrate()
        self._fit("generator", self.settings.generator, self._generator_options(planned))
        return self.find(source, load_generator(self._path("generator")), planned)

    @abstractmethod
    def look(self, source: Source) -> None:
        """The stages between the tokenizer's training and its use, such as measuring it."""

    @abstractmethod
    def sampling_seconds(self, loaded: Loaded, count: int) -> tuple[float, float]:
        """Seconds a sample, summed over all modes, and seconds that sampling takes besides, whatever the number.

        Args:
            loaded: a generator that was trained for a few steps.
            count: samples to time, in each mode.
        """

    @abstractmethod
    def find(self, source: Source, loaded: Loaded, planned: Plan) -> Findings:
        """The stages after the generator's training: samples, and what is measured of them.

        Args:
            source: of the real data.
            loaded: the generator.
            planned: how many samples there is time for.
        """

    def _fit(self, key: str, recipe: str, options: list[str]) -> None:
        """A run in the demo's folder; an interrupted one goes on where its last checkpoint was."""
        from mmgen.cli import fit  # lightning

        words = ["--config", recipe, *options, "--run", str(self._path(key))]
        self.commands.append(" ".join(["mmgen fit", *words]))
        checkpoint = self._path(key) / CHECKPOINT
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
        data = self._recipe()["data"]
        kept = {name: value for name, value in data["init_args"].items() if name != "tokenizer"}
        file = self._path("data.yaml")
        file.write_text(yaml.safe_dump({"data": data | {"init_args": kept | options}}, sort_keys=False))
        return file

    def _tokenize(self, data: Path | None) -> None:
        from mmgen.cli import tokenize

        named = None if data is None else str(data)
        path, out = str(self._path("tokenizer")), self._path("tokens")
        self.commands.append(repeating("tokenize", tokenize.run, tokenizer=path, out=str(out), data=named))
        if self.folder.found("tokens") is not None and out.is_dir():
            return self.walk.skip("tokens")
        with self.walk.stage("tokens"), _hushed():
            tokenize.run(path, out=str(self.folder.free("tokens")), data=named)
        self.folder.finish("tokens", self.walk.gone)

    def _calibrate(self) -> Plan:
        """How many steps and samples there is time for."""
        found = self.folder.found("calibration")
        if found is not None:
            self.walk.skip("calibration")
            planned = Plan(**found)
        else:
            with self.walk.stage("calibration"), _hushed():
                measured = self._time()
            left, wanted = self.walk.end - self.walk.clock(), self._wanted()
            planned = plan(left, wanted, measured, self.walk.needs("page"), self.settings.samples)
            self.folder.finish("calibration", self.walk.gone, **vars(planned))
            self.walk.tell(
                f"a step takes {duration(measured.step)}, a sample in every mode {duration(measured.sample)}: time for"
                f" {planned.steps:,} of the recipe's {wanted:,} steps and {planned.samples} samples a mode"
            )
        self.walk.expect("generator", planned.training)
        self.walk.expect("samples", planned.sampling)
        return planned

    def _time(self) -> Measured:
        """Trains a generator for a few steps, samples it, and throws it away."""
        from mmgen.cli import fit  # lightning

        steps, samples, path = self.settings.timed_steps, self.settings.timed_samples, self.folder.free("calibration")
        short = {
            "trainer.max_steps": steps,
            "trainer.val_check_interval": steps,
            "trainer.log_every_n_steps": steps // 2,
        }
        quick = {"model.warmup_steps": 0, "samples.count": 0, "run": path}
        words = ["--config", self.settings.generator, *self._data(), *self.settings.generator_options]
        started = time.perf_counter()
        fit.run("fit", words + [f"--{name}={value}" for name, value in (short | quick).items()])
        fitted = time.perf_counter() - started
        loaded = load_generator(path)
        rates = [row["train/tokens_per_second"] for row in logged(path) if "train/tokens_per_second" in row]
        batch = Saved.read(path).config["data"]["init_args"]["global_batch_size"]
        step = batch * loaded.spec.length / rates[-1]
        sample, always = self.sampling_seconds(loaded, samples)
        self.folder.free("calibration")
        beside = max(0.0, fitted - steps * step)  # start, one validation, one checkpoint
        return Measured(step, VALIDATIONS * beside, sample, always)

    def _options(self, mode: str) -> SampleOptions:
        return sample_options(self.settings.sampling.get(mode, {}))

    def _path(self, name: str) -> Path:
        return self.folder.path / name

    def _data(self) -> list[str]:
        return ["--data", "CachedTokens", "--data.path", str(self._path("tokens"))]

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
def _hushed() -> Iterator[None]:
    """What a command prints stays unseen; its errors do not."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
