"""Runs of `mmgen fit` on a few fake digits, small enough to take a second."""

from pathlib import Path

import torch

from mmgen.apps.cli.main import main
from mmgen.modalities.image.sources.digits import Digits

QUICK = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.logger=false",
    "--trainer.log_every_n_steps=1",
    "--samples.count=0",
    "--checkpoint.every_n_train_steps=1",
]
TOKENIZER = ["--config=tokenizers/digits_bsq", "--model.tokenizer.width=8"]
GENERATOR = [
    "--config=experiments/digits_mixture",
    "--model.backbone.dim=16",
    "--model.backbone.heads=2",
    "--model.backbone.depth=1",
]


def fake(path: Path, samples: int = 20) -> list[str]:
    """Options that put fake digits in place of the real ones; one in five is held out."""
    return [f"--data.source.folder={Digits.make_fake(path, samples)['folder']}"]


def fit(run: Path, *options: str) -> Path:
    """A run that must go well."""
    assert main(["fit", *QUICK, *options, f"--run={run}"]) == 0
    return run


def checkpoint(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
