"""A run killed anywhere and resumed by Lightning trains on exactly the samples that the run without a break does."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from mmgen.core.errors import UserError
from mmgen.modalities.image.sources.digits import Digits
from tests.data.training import QUIET, Recorder, SaveAfter
from tests.data_modules import data_module

STEPS, GLOBAL = 10, 12  # 80 training samples: an epoch ends within step 7


class Fitted(Recorder):
    """Weights that depend on the order of the samples."""

    def __init__(self, kill_at=None):
        super().__init__(kill_at)
        self.layer = torch.nn.Linear(784, 1)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)

    def loss(self, batch):
        return (self.layer(batch["x"].flatten(1)) - batch["label"][:, None]).square().mean() + 0 * self.weight


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Digits.make_fake(tmp_path_factory.mktemp("fake"), samples=100)["folder"]


def fit(folder, module, callbacks=(), ckpt_path=None, accumulate=1, workers=0, seed=0, size=GLOBAL, **changes):
    data = data_module(Digits, global_batch_size=size, seed=seed, folder=folder, num_workers=workers)
    options = QUIET | {"max_steps": STEPS, "limit_val_batches": 0, "accumulate_grad_batches": accumulate} | changes
    options["enable_checkpointing"] = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    trainer = L.Trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def slots(seen):
    return [slot for batch in seen for slot in batch]


def whole_run(folder, **options):
    module = Fitted()
    fit(folder, module, **options)
    assert len(slots(module.seen)) == STEPS * GLOBAL
    return module


def assert_goes_on(resumed, whole, step):
    assert slots(resumed.seen) == slots(whole.seen)[step * GLOBAL :]
    assert resumed.layer.weight.equal(whole.layer.weight)
    assert_counts_all_steps(resumed)


def assert_counts_all_steps(module):
    assert module.trainer.global_step == STEPS
    assert module.trainer.fit_loop.epoch_loop._batches_that_stepped == STEPS  # the step that loggers see


@pytest.mark.parametrize(
    ("accumulate", "kill_at", "step", "workers"),
    [(1, 4, 4, 0), (1, 8, 8, 0), (1, 5, 5, 2), (3, 12, 4, 0), (3, 14, 4, 0), (3, 25, 8, 0)],
)
def test_killed_and_resumed_from_the_last_checkpoint(folder, tmp_path, accumulate, kill_at, step, workers):
    options = {"accumulate": accumulate, "workers": workers}
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=0, save_last=True)
    killed, whole, resumed = Fitted(kill_at), whole_run(folder, **options), Fitted()
    with pytest.raises(KeyError):
        fit(folder, killed, [saving], **options)
    fit(folder, resumed, ckpt_path=tmp_path / "last.ckpt", **options)
    assert killed.seen == whole.seen[:kill_at]
    assert_goes_on(resumed, whole, step)


@pytest.mark.parametrize(("batch", "step"), [(6, 2), (7, 2), (8, 2), (9, 3), (22, 7)])
def test_a_checkpoint_within_an_optimiser_step_goes_back_to_its_beginning(folder, tmp_path, batch, step):
    resumed, whole = Fitted(), whole_run(folder, accumulate=3)
    fit(folder, Fitted(), [SaveAfter(batch, tmp_path / "here.ckpt")], accumulate=3)
    fit(folder, resumed, ckpt_path=tmp_path / "here.ckpt", accumulate=3)
    assert_goes_on(resumed, whole, step)


@pytest.mark.parametrize(
    ("before", "after", "batch", "step"), [(1, 3, 4, 4), (4, 1, 16, 4), (4, 3, 18, 4), (2, 6, 15, 7), (3, 2, 9, 3)]
)
def test_resumed_under_another_accumulation(folder, tmp_path, before, after, batch, step):
    resumed, whole = Fitted(), whole_run(folder)
    fit(folder, Fitted(), [SaveAfter(batch, tmp_path / "here.ckpt")], accumulate=before)
    fit(folder, resumed, ckpt_path=tmp_path / "here.ckpt", accumulate=after)
    assert slots(resumed.seen) == slots(whole.seen)[step * GLOBAL :]
    assert {len(batch) for batch in resumed.seen} == {GLOBAL // after}
    assert_counts_all_steps(resumed)


def test_resumed_with_another_global_batch_and_fitted_again(folder, tmp_path):
    resumed, whole, again = Fitted(), whole_run(folder), Fitted()
    fit(folder, Fitted(), [SaveAfter(4, tmp_path / "here.ckpt")])
    trainer = fit(folder, resumed, ckpt_path=tmp_path / "here.ckpt", size=6, max_steps=8)
    trainer.fit_loop.epoch_loop.max_steps = STEPS
    trainer.fit(resumed, trainer.datamodule)  # the same trainer goes on
    assert slots(resumed.seen) == slots(whole.seen)[4 * GLOBAL :][: 6 * 6]
    data = trainer.datamodule
    L.Trainer(**QUIET).validate(again, data, ckpt_path=tmp_path / "here.ckpt", weights_only=True, verbose=False)
    L.Trainer(max_steps=2, limit_val_batches=0, **QUIET).fit(again, data)  # a new one begins anew
    assert slots(again.seen) == slots(whole.seen)[: 2 * 6]


def test_a_checkpoint_of_a_validation(folder, tmp_path):
    options = {"accumulate": 2, "val_check_interval": 3, "check_val_every_n_epoch": None, "limit_val_batches": 1.0}
    options["num_sanity_val_steps"] = 0
    saving = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_epochs=1, save_on_train_epoch_end=False)
    whole, resumed = Fitted(), Fitted()
    fit(folder, whole, [saving], **options)
    assert len(list(tmp_path.glob("*.ckpt"))) > 2
    assert [batch["sample"].tolist() for batch in whole.validated[:4]] == [
        list(range(start, start + 30, 5)) for start in (0, 30, 60)
    ] + [[90, 95]]
    fit(folder, resumed, ckpt_path=tmp_path / "step=4.ckpt", **options)  # after batch 9, within step 5
    assert_goes_on(resumed, whole, step=4)


def test_an_exception_within_a_batch_leaves_that_batch_to_be_trained_on(folder, tmp_path):
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=100, save_top_k=1, save_last=True, save_on_exception=True)
    resumed, whole = Fitted(), whole_run(folder)
    with pytest.raises(KeyError):
        fit(folder, Fitted(kill_at=6), [saving])
    fit(folder, resumed, ckpt_path=tmp_path / "last.ckpt")
    assert_goes_on(resumed, whole, step=6)


def test_short_epochs_of_the_trainer_neither_skip_nor_repeat(folder, tmp_path):
    options = {"limit_train_batches": 4, "accumulate": 2}
    resumed, whole = Fitted(), whole_run(folder)
    short = whole_run(folder, **options)
    assert slots(short.seen) == slots(whole.seen)
    fit(folder, Fitted(), [SaveAfter(10, tmp_path / "here.ckpt")], **options)
    fit(folder, resumed, ckpt_path=tmp_path / "here.ckpt", **options)
    assert_goes_on(resumed, short, step=5)


@pytest.mark.parametrize("changed", ["seed", "samples"])
def test_other_data_is_refused(folder, tmp_path, changed):
    fit(folder, Fitted(), [SaveAfter(2, tmp_path / "here.ckpt")], max_steps=2)
    other = Digits.make_fake(tmp_path, samples=50)["folder"] if changed == "samples" else folder
    with pytest.raises(UserError, match="could not go on"):
        fit(other, Fitted(), ckpt_path=tmp_path / "here.ckpt", seed=1 if changed == "seed" else 0)
