"""Lightning's own callbacks, loggers and profilers in a recipe: they work, or one line says why not."""

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from mmgen.apps.cli.lightning_parts import reason_of
from mmgen.apps.cli.main import main
from tests.training.fits import TOKENIZER, checkpoint, fake

FEW = [
    "--config=configs/trainer/cpu.yaml",
    "--data.global_batch_size=4",
    "--trainer.max_steps=3",
    "--trainer.log_every_n_steps=1",
    "--samples.count=0",
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return fake(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def line(digits: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Runs `mmgen fit`, expects the exit code, and returns what it wrote."""

    def run(*options: str, code: int = 0) -> str:
        capfd.readouterr()
        assert main(["fit", *TOKENIZER, *FEW, *digits, f"--run={tmp_path / 'run'}", *options]) == code
        output = capfd.readouterr()
        if code:
            assert [each.startswith("mmgen: error: ") for each in output.err.splitlines()] == [True], output.err
        return output.out + output.err

    return run


@pytest.mark.parametrize("kind", ["RichProgressBar", "TQDMProgressBar"])
def test_a_progress_bar_takes_the_place_of_ours(line, kind: str) -> None:
    assert "step 3/3" not in line(f"--trainer.callbacks+={kind}")


@pytest.mark.parametrize("kind", ["DeviceStatsMonitor", "LearningRateMonitor", "RichModelSummary", "Timer"])
def test_callbacks_that_work(line, kind: str, tmp_path: Path) -> None:
    """Also where their defaults are members of an enumeration, which YAML cannot hold; and the run is read again."""
    line(f"--trainer.callbacks+={kind}", *(["--trainer.callbacks.duration=00:00:10:00"] if kind == "Timer" else []))
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["trainer"]["callbacks"][0]["class_path"].endswith(kind)
    assert main(["validate", f"--config={tmp_path / 'run' / 'config.yaml'}", "--trainer.limit_val_batches=1"]) == 0


def test_a_run_that_stops_early_leaves_its_last_step(line, tmp_path: Path) -> None:
    options = ["--trainer.callbacks.monitor=val/loss", "--trainer.callbacks.patience=1", "--trainer.max_steps=9"]
    options += ["--trainer.callbacks.min_delta=100", "--trainer.val_check_interval=1"]
    line("--trainer.callbacks+=EarlyStopping", *options)
    assert checkpoint(tmp_path / "run")["global_step"] == 2


def test_a_figure_that_is_not_there(line) -> None:
    options = [
        "--trainer.callbacks+=EarlyStopping",
        "--trainer.callbacks.monitor=foo",
        "--trainer.val_check_interval=1",
    ]
    assert "metric `foo` which is not available" in line(*options, code=2)


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_logger_whose_package_is_missing(line) -> None:
    assert "needs the package wandb: pip install wandb" in line("--trainer.logger=WandbLogger", code=2)


def test_reasons_come_from_the_libraries_only() -> None:
    with pytest.raises(ZeroDivisionError) as ours:
        _ = 1 / 0
    assert reason_of(ours.value) is None


def test_a_profiler_prints_its_report(line, caplog: pytest.LogCaptureFixture) -> None:
    """By a logger of Lightning's, of which nothing else is shown."""
    line("--trainer.profiler=simple")
    assert [record.message.strip().startswith("FIT Profiler Report") for record in caplog.records] == [True]


def test_settings_reach_the_loggers(line, tmp_path: Path) -> None:
    line("--model.optimizer.lr=0.03125")
    for folder in ("csv/version_0", "tensorboard"):
        settings = (tmp_path / "run" / "logs" / folder / "hparams.yaml").read_text()
        assert "0.03125" in settings, folder


def test_a_fast_development_run_touches_nothing(line, digits: list[str], tmp_path: Path) -> None:
    """A step of training and of validation, even where a run is already; previews are drawn to nowhere."""
    line()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    line("--trainer.fast_dev_run=true", "--samples.count=2")
    line("--trainer.fast_dev_run=2", f"--run={tmp_path / 'other'}")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_measurement_keeps_the_logger_that_is_named(line, tmp_path: Path) -> None:
    line()
    logger = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'figures'}"]
    assert main(["validate", f"--config={tmp_path / 'run' / 'config.yaml'}", *logger]) == 0
    (file,) = (tmp_path / "figures").rglob("metrics.csv")
    with file.open() as opened:
        assert float(next(csv.DictReader(opened))["val/loss"]) > 0


def test_a_config_that_cannot_be_read_again_ends_the_run(line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before its first step."""
    from mmgen.apps.cli.fit import RecipeCLI

    class Lossy(RecipeCLI):
        def start(self) -> None:
            dump = self.parser.dump
            self.parser.dump = lambda *args, **options: dump(*args, **options) + "mode: [\n"
            super().start()

    monkeypatch.setattr("mmgen.apps.cli.fit.RecipeCLI", Lossy)
    assert "config.yaml of this run could not be read again" in line(code=2)
    assert not (tmp_path / "run").exists()
