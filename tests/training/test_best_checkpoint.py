"""The checkpoint of the lowest held-out loss stays, whatever training does later."""

from pathlib import Path

import pytest

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.store.checkpoint_file import best_record, check_seal
from mmgen.store.store import Saved, save_export
from mmgen.training import TokenizerModule
from tests.training.fits import TOKENIZER, fit

LOSSES = {1: 3.0, 2: 1.0, 3: 2.0, 4: float("nan"), 5: 1.5, 6: 0.5}
"""Optimizer step -> the held-out loss that a validation then measures."""

OPTIONS = ["--data.global_batch_size=4", "--trainer.val_check_interval=1", "--trainer.limit_val_batches=1"]


@pytest.fixture(scope="module")
def train(digits, tmp_path_factory):
    """Trains one run up to a step, and further each time."""
    run = tmp_path_factory.mktemp("runs") / "rising"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TokenizerModule, "validation_step", lambda self, *_: self.log("val/loss", LOSSES[self.trainer.global_step])
        )

        def to(step: int) -> Path:
            resume = ["--ckpt_path=last"] if run.exists() else []
            options = [*TOKENIZER, *digits, *OPTIONS, f"--trainer.max_steps={step}", "--ema.decay=0.9", *resume]
            return fit(run, *options)

        yield to


def test_the_best_differs_from_the_last_and_survives_resuming(train):
    """The loss rises after step 2, training goes on, and goes on again; only a lower loss replaces the best."""
    for end, best in ((3, 2), (5, 2), (6, 6)):
        run = train(end)
        file = run / "checkpoints" / "best.ckpt"
        check_seal(file)
        assert best_record(file) == {"step": best, "loss": LOSSES[best]}
        last, lowest = (Saved.read(run, checkpoint=name) for name in ("last", "best"))
        assert (last.step, lowest.step, lowest.averaged) == (end, best, True)
        same = all(last.state[name].equal(value) for name, value in lowest.state.items())
        assert same == (end == best)
        assert sorted(each.name for each in file.parent.iterdir()) == ["best.ckpt", "last-before.ckpt", "last.ckpt"]


def test_commands_take_either(train, tmp_path, capsys):
    run = train(6)
    assert main(["export", str(run), f"--out={tmp_path / 'out'}", "--checkpoint=best"]) == 0
    assert "after 6 steps (best checkpoint)" in capsys.readouterr().out
    with pytest.raises(UserError, match="is an export"):
        save_export(tmp_path / "out", tmp_path / "again", checkpoint="best")
    (run / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(UserError, match="use last"):
        Saved.read(run, checkpoint="best")
