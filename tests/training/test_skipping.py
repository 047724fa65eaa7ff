"""A step whose loss or gradient is NaN or infinite changes nothing, is counted and kept; the run ends at the limit."""

import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from safetensors.torch import load_file

from mmgen.apps.cli.main import main
from mmgen.data.base import DataModule
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.tokenizers.losses import Adversarial, PatchGAN
from mmgen.tokenizers.quantizers import BSQ
from mmgen.training import GeneratorModule, TokenizerModule
from mmgen.training.skipping import SkipBadSteps
from tests.data.training import QUIET as PLAIN
from tests.data_modules import data_module
from tests.training.fits import GENERATOR, QUICK, TOKENIZER, checkpoint, fit
from tests.training.test_resume import VQ, same

STATE = ("state_dict", "current_model_state", "optimizer_states")


class NaNGradient(torch.autograd.Function):
    """Passes a loss on as it is, and spoils its gradient."""

    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient * torch.nan


SPOIL = {
    "nan loss": lambda loss: loss * torch.nan,
    "infinite loss": lambda loss: loss + torch.inf,
    "infinite loss without a gradient": lambda loss: loss * 0 + torch.inf,
    "nan gradient of a finite loss": NaNGradient.apply,
}


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Spoils the loss of chosen batches."""

    def spoil(module: type, batches: range | tuple[int, ...], how: str) -> None:
        step, count = module.training_step, iter(range(10**6))

        def spoilt(self: Any, batch: Any, index: int) -> torch.Tensor:
            loss = step(self, batch, index)
            return SPOIL[how](loss) if next(count) in batches else loss

        monkeypatch.setattr(module, "training_step", spoilt)

    return spoil


def options(digits: list[str], steps: int, *more: str) -> list[str]:
    return [*digits, "--data.global_batch_size=4", f"--trainer.max_steps={steps}", "--ema.decay=0.9", *more]


def test_a_healthy_run_is_the_same_bit_for_bit(digits: list[str], tmp_path: Path) -> None:
    watched, alone = (
        checkpoint(fit(tmp_path / f"{limit}", *VQ, *options(digits, 4, f"--skip.limit={limit}"))) for limit in (10, 0)
    )
    for key in (*STATE, "averaging_state", "lr_schedulers"):
        same(watched[key], alone[key], key)
    assert not (tmp_path / "10" / "skipped").exists()


@pytest.mark.parametrize(("how", "accumulate"), [*((how, 2) for how in SPOIL), ("nan loss", 1)])
def test_a_bad_step_changes_nothing(
    how: str, accumulate: int, digits: list[str], tokenizer: Path, tmp_path: Path, spoil: Any
) -> None:
    """The third and last step is bad: all but the average and the learning rate is as it was after the second."""
    recipe = [*GENERATOR, f"--data.tokenizer={tokenizer}", f"--trainer.accumulate_grad_batches={accumulate}"]
    # The schedule looks at max_steps, so that the run of two steps ends by its batches.
    two = [f"--trainer.limit_train_batches={2 * accumulate}", "--trainer.max_epochs=1"]
    good = fit(tmp_path / "good", *recipe, *options(digits, 3, *two))
    spoil(GeneratorModule, (2 * accumulate,), how)  # the first of the batches of the third step
    bad = fit(tmp_path / "bad", *recipe, *options(digits, 3))
    one, other = checkpoint(good), checkpoint(bad)
    assert (one["global_step"], other["global_step"]) == (2, 3)
    same(one["current_model_state"], other["current_model_state"])
    same(one["optimizer_states"][0]["state"], other["optimizer_states"][0]["state"])
    assert other["callbacks"]["SkipBadSteps"]["skipped"] == 1
    (file,) = (bad / "skipped").iterdir()
    assert file.name == "step-000002.safetensors"
    kept = load_file(file)
    assert kept["sample"].shape == (4 // accumulate,)
    assert kept["tokens.values"].shape[0] == 4 // accumulate


def test_a_codebook_that_follows_the_data_is_put_back(digits: list[str], tmp_path: Path, spoil: Any) -> None:
    """It has followed the bad batch before the loss is known."""
    run = {}
    for steps in (2, 3):
        more = options(digits, 3, f"--trainer.limit_train_batches={steps}", "--trainer.max_epochs=1")
        run[steps] = checkpoint(fit(tmp_path / f"{steps}", *VQ, *more))["current_model_state"]
    spoil(TokenizerModule, (2,), "nan loss")
    skipped = checkpoint(fit(tmp_path / "skipped", *VQ, *options(digits, 3)))["current_model_state"]
    same(skipped, run[2])
    assert run[3]["tokenizer.quantizer.batches"] == 3  # which a step that is taken changes


def nan_data(module: Any, batch: dict[str, Any]) -> None:
    """In the samples, before the encoder."""
    batch["x"][0, ..., 0, 0] = torch.nan


def nan_latents(module: Any, batch: dict[str, Any]) -> None:
    """Between encoder and quantizer."""
    module.tokenizer.encoder.register_forward_hook(lambda *given: given[-1] * torch.nan)


def infinite_latents(module: Any, batch: dict[str, Any]) -> None:
    """One of them, so that no other number need be bad."""

    def spoils(*given: Any) -> torch.Tensor:
        mask = torch.zeros_like(given[-1])
        mask[0, 0] = torch.inf
        return given[-1] + mask

    module.tokenizer.encoder.register_forward_hook(spoils)


QUANTIZERS = {
    "bsq": TOKENIZER,
    "vq": VQ,
    "kl": ["--config=tokenizers/digits_kl", "--model.tokenizer.width=8"],
    "residual": [*TOKENIZER, "--model.tokenizer.quantizer=ResidualVQ", "--model.tokenizer.quantizer.codes=16"],
    "fsq": [*TOKENIZER, "--model.tokenizer.quantizer=FSQ", "--model.tokenizer.quantizer.steps=[4,4,4]"],
}


@pytest.mark.parametrize("where", [nan_data, nan_latents, infinite_latents])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_reaches_a_quantizer_is_a_bad_step_too(
    name: str, where: Any, digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TokenizerModule.training_step

    def spoilt(self: Any, batch: Any, index: int) -> torch.Tensor:
        if self.trainer.global_step != 1:
            return step(self, batch, index)
        before = dict(self.tokenizer.encoder._forward_hooks)
        where(self, batch)
        try:
            return step(self, batch, index)
        finally:
            self.tokenizer.encoder._forward_hooks.clear()
            self.tokenizer.encoder._forward_hooks.update(before)

    monkeypatch.setattr(TokenizerModule, "training_step", spoilt)
    run = checkpoint(fit(tmp_path / "run", *QUANTIZERS[name], *options(digits, 3)))
    assert run["callbacks"]["SkipBadSteps"]["skipped"] == 1
    assert all(each.isfinite().all() for each in run["current_model_state"].values())
    assert {int(each["step"]) for each in run["optimizer_states"][0]["state"].values()} == {2}


def test_samples_without_tokens_are_a_bad_step(
    digits: list[str], tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the first batch, which is looked at."""
    encode, count = DataModule._encode, iter(range(10**6))

    def spoilt(self: Any, tokenizer: Any, batch: Any) -> Any:
        if next(count) == 1:
            batch["x"][0, 0, 0, 0] = torch.nan
        return encode(self, tokenizer, batch)

    monkeypatch.setattr(DataModule, "_encode", spoilt)
    run = checkpoint(fit(tmp_path / "run", *GENERATOR, f"--data.tokenizer={tokenizer}", *options(digits, 3)))
    assert run["callbacks"]["SkipBadSteps"]["skipped"] == 1


def test_what_a_discriminator_counts_is_put_back(digits: list[str], tmp_path: Path, spoil: Any) -> None:
    """It is beside the module, and so are its buffers."""

    class Counting(PatchGAN):
        def __init__(self, channels: int) -> None:
            super().__init__(channels, width=4, layers=1)
            self.seen: torch.Tensor
            self.register_buffer("seen", torch.zeros(()))

        def verdicts(self, x: torch.Tensor) -> Any:
            self.seen += self.training
            return super().verdicts(x)

    spoil(TokenizerModule, (1,), "nan loss")
    data = data_module(Digits, global_batch_size=4, folder=digits[0].partition("=")[2])
    tokenizer = ConvImageTokenizer(BSQ(4), image_size=28, channels=1, width=8)
    module = TokenizerModule(tokenizer, adversarial=Adversarial(Counting(1), start=0))
    L.Trainer(max_steps=3, callbacks=[SkipBadSteps()], limit_val_batches=0, **PLAIN).fit(module, data)
    assert module.adversary is not None
    assert module.adversary.net.seen == 4 + 1  # twice a step, and once where it is checked


def test_a_discriminator_and_a_balancer_skip_too(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, count = TokenizerModule.training_step, iter(range(10**6))

    def spoilt(self: Any, batch: Any, index: int) -> torch.Tensor:
        if next(count) != 1:
            return step(self, batch, index)
        with self.tokenizer.decoder.register_forward_hook(lambda *given: given[-1] * torch.nan):
            return step(self, batch, index)

    monkeypatch.setattr(TokenizerModule, "training_step", spoilt)
    discriminator = "--model.adversarial.discriminator"
    game = ["--model.adversarial=Adversarial", f"{discriminator}=PatchGAN", f"{discriminator}.channels=1"]
    game += [f"{discriminator}.width=8", f"{discriminator}.layers=1", "--model.adversarial.start=0"]
    game += ["--model.adversarial.adaptive=false", "--model.balancer=Balancer"]
    run = checkpoint(fit(tmp_path / "run", *TOKENIZER, *game, *options(digits, 3)))
    adversary = run["callbacks"]["Adversary"]
    assert all(each.isfinite().all() for each in (*adversary["discriminator"].values(), *run["balance"].values()))
    assert {int(each["step"]) for each in adversary["optimizer"]["state"].values()} == {2}
    assert run["callbacks"]["SkipBadSteps"]["skipped"] == 1


def test_a_run_of_bad_steps_ends_in_one_line(
    digits: list[str], tmp_path: Path, spoil: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    spoil(TokenizerModule, range(2, 100), "nan loss")
    more = options(digits, 20, "--skip.limit=3")
    assert main(["fit", *QUICK, *TOKENIZER, *more, f"--run={run}"]) == 2
    told = capfd.readouterr().err
    assert re.search(
        rf"\Ammgen: error: training stopped at step 5: [^\n]*last 3 steps, which were skipped; batches [^\n]*"
        rf"{run}/skipped[^\n]*\n\Z",
        told,
    ), told
    assert all(each.isfinite().all() for each in checkpoint(run)["state_dict"].values())
    kept = sorted(each.name for each in (run / "skipped").iterdir())
    assert kept == [f"step-00000{step}.safetensors" for step in (2, 3, 4)]


def test_the_count_is_logged_and_survives(digits: list[str], tmp_path: Path, spoil: Any) -> None:
    """Bad steps that are not in a row end nothing; their count stands in the log, and goes on after a resumption."""
    spoil(TokenizerModule, (1, 3, 5), "nan loss")
    more = ["--skip.limit=2", "--trainer.logger=true"]
    run = fit(tmp_path / "run", *TOKENIZER, *options(digits, 4, *more))
    fit(run, *TOKENIZER, *options(digits, 6, *more), "--ckpt_path=last")
    assert checkpoint(run)["callbacks"]["SkipBadSteps"]["skipped"] == 3
    logs = "".join(each.read_text() for each in (run / "logs" / "csv").rglob("metrics.csv"))
    assert "train/skipped_steps" in logs
