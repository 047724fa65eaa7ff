"""Law 7: the same samples meet the same corruption however they are batched, and a killed run goes on bit for bit."""

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.store.checkpoint_file import best_record
from mmgen.training import GeneratorModule, TokenizerModule
from tests.training.fits import GENERATOR, TOKENIZER, checkpoint, fit, killed_and_resumed
from tests.worlds import condition_of

STEPS = 7
VQ = ["--config=tokenizers/digits_vq", "--model.tokenizer.width=8", "--model.tokenizer.quantizer.codes=16"]
RUNS = {
    "vq": (TokenizerModule, VQ),
    "bsq": (TokenizerModule, TOKENIZER),
    "generator": (GeneratorModule, [*GENERATOR, "--model.backbone.dropout=0.2"]),
}


def same(one, other, path=""):
    """Both trees hold the same, bit for bit."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{path}/{number}")
    else:
        assert one.equal(other) if isinstance(one, torch.Tensor) else one == other, path


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_goes_on_bit_for_bit(name, accumulate, digits, tokenizer, tmp_path):
    """16 training samples and batches of 6: epochs end within steps, and the kill is past the first of them."""
    module, recipe = RUNS[name]
    options = [*recipe, *digits, "--data.global_batch_size=6", f"--trainer.max_steps={STEPS}", "--ema.decay=0.9"]
    options += [
        f"--trainer.accumulate_grad_batches={accumulate}",
        "--checkpoint.every_n_train_steps=2",
        "--trainer.val_check_interval=3",
    ]
    options += [f"--data.tokenizer={tokenizer}"] if name == "generator" else []
    whole, resumed = killed_and_resumed(tmp_path, module, options)
    assert whole["global_step"] == resumed["global_step"] == STEPS
    weights = ("state_dict", "current_model_state", "averaging_state")
    for key in (*weights, "optimizer_states", "lr_schedulers", "DataModule"):
        same(whole[key], resumed[key], key)
    assert whole["lr_schedulers"][0]["last_epoch"] == STEPS
    if name == "vq":
        assert whole["state_dict"]["tokenizer.quantizer.batches"] == STEPS * accumulate
    assert not whole["current_model_state"].keys() ^ whole["state_dict"].keys()
    assert any(not whole["current_model_state"][key].equal(value) for key, value in whole["state_dict"].items())


@pytest.mark.parametrize(("every", "validation", "accumulate"), [(2, 2, 1), (4, 1, 2), (4, 4, 2)])
def test_a_validation_on_the_step_of_the_checkpoint_changes_nothing(
    every, validation, accumulate, digits, tokenizer, tmp_path
):
    """Dropout after it is that of the run without a break, with previews that draw and loaders that start; and no
    validation is lost, of which callbacks keep count.
    """
    module, recipe = RUNS["generator"]
    options = [*recipe, *digits, f"--data.tokenizer={tokenizer}", "--data.global_batch_size=6", "--samples.count=1"]
    options += [f"--trainer.max_steps={STEPS}", f"--checkpoint.every_n_train_steps={every}", "--ema.decay=0.9"]
    options += [f"--trainer.val_check_interval={validation}", f"--trainer.accumulate_grad_batches={accumulate}"]
    options += ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    whole, resumed = killed_and_resumed(tmp_path, module, [*options, "--trainer.callbacks.patience=99"])
    for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "DataModule", "callbacks"):
        same(whole[key], resumed[key], key)
    bests = [best_record(tmp_path / run / "checkpoints" / "best.ckpt") for run in ("whole", "killed")]
    assert bests[0] == bests[1] != None  # noqa: E711


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_interval_of_validations_counts_optimiser_steps(accumulate, digits, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(TokenizerModule, "on_validation_start", lambda self: steps.append(self.trainer.global_step))
    options = [*TOKENIZER, *digits, "--data.global_batch_size=6", "--trainer.max_steps=7"]
    fit(tmp_path, *options, "--trainer.val_check_interval=3", f"--trainer.accumulate_grad_batches={accumulate}")
    assert steps == [3, 6]


def test_a_longer_run_goes_on_from_a_finished_one(digits, tmp_path):
    options = [*TOKENIZER, *digits, "--data.global_batch_size=4"]
    run = fit(tmp_path / "run", *options, "--trainer.max_steps=2")
    first = (run / "config.yaml").read_text()
    assert checkpoint(fit(run, *options, "--trainer.max_steps=5", "--ckpt_path=last"))["global_step"] == 5
    assert (run / "config-before-1.yaml").read_text() == first


def losses_by_sample(monkeypatch):
    """Records each sample's loss, by (step, epoch, sample, mode), while runs go on."""
    seen = {}
    step = GeneratorModule.training_step

    def records(self, batch, index):
        draws = Draws(self.seed, batch["sample"], batch["epoch"])
        labels = self.generator.conditions.drop({"class": batch["label"]}, draws)["class"]
        condition = condition_of(self.generator, labels)
        alone = []
        for row in range(len(labels)):  # one by one: not even the split of a mixture is told from the batch
            only = torch.tensor([row])
            (losses,) = self.paradigm.losses(
                self.generator, batch["tokens"].rows(only), condition.rows(only), draws.rows(only)
            ).items()
            key = (self.trainer.global_step, batch["epoch"][row].item(), batch["sample"][row].item(), losses[0])
            seen[key] = losses[1].item()
            alone.append(seen[key])
        loss = step(self, batch, index)
        assert loss.item() == pytest.approx(sum(alone) / len(alone), rel=1e-9)
        return loss

    monkeypatch.setattr(GeneratorModule, "training_step", records)
    return seen


def test_the_same_corruption_at_any_micro_batch_size(digits, tokenizer, tmp_path, monkeypatch):
    """8 at once, or 4 twice: in float64 losses of every sample and weights after three steps agree to rounding."""
    options = [
        *GENERATOR,
        *digits,
        f"--data.tokenizer={tokenizer}",
        "--data.global_batch_size=8",
        "--trainer.precision=64-true",
    ]
    options += ["--trainer.max_steps=3", "--ema.decay=0.9", "--trainer.val_check_interval=100"]
    seen, weights = [], []
    for accumulate in (1, 2):
        with monkeypatch.context() as patch:
            seen.append(losses_by_sample(patch))
            run = fit(tmp_path / str(accumulate), *options, f"--trainer.accumulate_grad_batches={accumulate}")
        weights.append(checkpoint(run)["current_model_state"])
    assert len(seen[0]) == 24
    assert seen[0].keys() == seen[1].keys()
    assert {mode for *_, mode in seen[0]} == {"ar", "masked", "block"}
    for key, loss in seen[0].items():
        assert loss == pytest.approx(seen[1][key], rel=1e-9), key
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=1e-7, msg=name)
