"""Figures of validation reach every logger of the trainer."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger

from mmgen.apps.cli import lightning_parts
from tests.training.fits import TOKENIZER, fake, fit


class StandIn(CSVLogger):
    """A logger that keeps the names of what it is given."""

    names: set[str]

    def __init__(self, folder, default_hp_metric, **options):
        super().__init__(folder, **options)

    def log_metrics(self, metrics, step=None):
        StandIn.names |= set(metrics)

    def save(self):
        """Nothing is written."""


def test_validation_reaches_every_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    StandIn.names = set()
    monkeypatch.setattr(lightning_parts, "TensorBoardLogger", StandIn)
    steps = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--trainer.logger=true"]
    run = fit(tmp_path / "run", *TOKENIZER, *fake(tmp_path / "data"), *steps, "--data.global_batch_size=4")
    (table,) = (run / "logs" / "csv").rglob("metrics.csv")
    written = {name for name in table.read_text().partition("\n")[0].split(",") if name.startswith("val/")}
    assert written
    assert written <= StandIn.names
