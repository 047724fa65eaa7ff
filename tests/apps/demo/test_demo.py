from pathlib import Path

import pytest
from rich.console import Console

from mmgen.apps.cli import fit
from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.image.demo import ImageDemo
from mmgen.apps.demo.image.settings import ImageSettings
from mmgen.apps.demo.kinds import KINDS
from mmgen.apps.demo.settings import repeating
from mmgen.apps.demo.stages import Walk
from mmgen.paradigms import Decoding, Guidance, SampleOptions
from mmgen.sampling.options import sample_options


@pytest.fixture
def demo(tmp_path: Path) -> ImageDemo:
    folder, _ = DemoFolder.claim(tmp_path / "demo", {})
    return ImageDemo(ImageSettings(), folder, Walk(ImageDemo.stages, float("inf"), 0, Console(quiet=True)))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    called: list[list[str]] = []
    monkeypatch.setattr(fit, "run", lambda _, words: called.append(words))
    return called


def test_a_run_goes_on_from_its_checkpoint(demo: ImageDemo, fits: list[list[str]]) -> None:
    checkpoint = demo.folder.path / "tokenizer" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    demo._fit("tokenizer", "recipe.yaml", [])
    assert fits == [["--config", "recipe.yaml", "--run", str(demo.folder.path / "tokenizer"), "--ckpt_path", "last"]]
    assert checkpoint.exists()
    assert demo.folder.found("tokenizer") is not None


def test_a_run_without_a_checkpoint_begins_anew(demo: ImageDemo, fits: list[list[str]]) -> None:
    run = demo.folder.path / "tokenizer"
    run.mkdir()
    (run / "config.yaml").touch()
    demo._fit("tokenizer", "recipe.yaml", ["--trainer.max_steps=3"])
    assert fits == [["--config", "recipe.yaml", "--trainer.max_steps=3", "--run", str(run)]]
    assert not run.exists()


def test_a_finished_run_is_kept_unless_somebody_removed_it(demo: ImageDemo, fits: list[list[str]]) -> None:
    demo._fit("tokenizer", "recipe.yaml", [])
    checkpoint = demo.folder.path / "tokenizer" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    demo._fit("tokenizer", "recipe.yaml", [])
    assert len(fits) == 1
    checkpoint.unlink()
    demo._fit("tokenizer", "recipe.yaml", [])
    assert len(fits) == 2


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_recipes_exist_and_say_how_long_they_train(kind: type[Demo], tmp_path: Path) -> None:
    settings = kind.settings_class()
    assert set(settings.record()["recipes"]) == {settings.tokenizer, settings.generator}
    folder, _ = DemoFolder.claim(tmp_path / "demo", {})
    assert kind(settings, folder, Walk(kind.stages, float("inf"), 0, Console(quiet=True)))._wanted() > 100


@pytest.mark.parametrize("kind", KINDS.values())
def test_its_stages_are_in_order_and_fit_into_ten_minutes(kind: type[Demo]) -> None:
    keys = [stage.key for stage in kind.stages]
    assert len(set(keys)) == len(keys)
    shared = ["tokenizer", "tokens", "calibration", "generator", "page"]
    assert [key for key in keys if key in shared] == shared
    assert sum(stage.seconds for stage in kind.stages) <= 600


def test_options_mean_on_the_command_line_what_they_mean_to_the_sampler() -> None:
    def run(
        path: str, cfg: float = 1.0, order: str = "confidence", noise: float = 4.5, steps: int | None = None
    ) -> None:
        """Stands for a command."""

    given = {"cfg": 3.0, "order": "random", "steps": 8}
    assert sample_options(given) == SampleOptions(8, Guidance(3.0), Decoding(order="random"))
    assert repeating("sample", run, path="a run", **given) == "mmgen sample 'a run' --cfg 3.0 --order random --steps 8"
