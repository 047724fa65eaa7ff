"""Runs of `mmgen fit` on a few fake digits, small enough to take a second."""

from pathlib import Path

import pytest
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


class Killed(BaseException):
    """What no handler catches, as a kill is."""


def killed_and_resumed(
    folder: Path, module: type, options: list[str], after: bool = False, at: int = 5
) -> tuple[dict, dict]:
    """Checkpoints of a run, and of the same run that was killed past some steps and went on from the checkpoint of the
    step before; killed before its training step, or after it.
    """
    whole, step = checkpoint(fit(folder / "whole", *options)), module.training_step

    def dies(self, batch, index):
        loss = step(self, batch, index) if after else None
        if self.trainer.global_step == at:
            raise Killed
        return step(self, batch, index) if loss is None else loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "training_step", dies)
        with pytest.raises(Killed):
            main(["fit", *QUICK, *options, f"--run={folder / 'killed'}"])
    assert checkpoint(folder / "killed")["global_step"] == at - 1
    return whole, checkpoint(fit(folder / "killed", *options, "--ckpt_path=last"))
