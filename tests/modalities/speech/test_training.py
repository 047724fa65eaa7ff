"""A codec is trained on its spectra and against networks that hear, in balance, and goes on after a kill."""

from types import SimpleNamespace

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.modalities.speech.tokenizers.mel import MelTokenizer
from mmgen.tokenizers.losses import Adversarial, Balancer, Discriminators, MultiPeriod, MultiSTFT, Spectral
from mmgen.tokenizers.quantizers import FSQ
from mmgen.training import TokenizerModule
from tests.training.fits import checkpoint, fit, killed_and_resumed
from tests.training.sounds import hums, tiny
from tests.training.test_resume import same

SPECTRAL = Spectral(windows=(128,), mels=(8,), stft=0.5, resolutions=((64, 10, 40),))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return hums(tmp_path_factory.mktemp("hums"))


def game(**options):
    net = Discriminators([MultiPeriod(1, [2]), MultiSTFT(2, [32])])
    return Adversarial(net, start=0, adaptive=False, feature_matching=2.0, **options)


def sounds(rows=3):
    return torch.rand(rows, 1, 800, generator=torch.Generator().manual_seed(0)) * 2 - 1


def gradient_of_step(module, x):
    """Gradients of a training step at the decoder's last layer, and what was logged."""
    logged = {}
    module.log_dict = lambda values, **_: logged.update(values)
    module.log = lambda name, value, **_: logged.update({name: value})
    module._trainer = SimpleNamespace(global_step=0)
    if module.adversary is not None:
        module.adversary._accumulate = 1
    loss = module.training_step({"x": x}, 0)
    return torch.autograd.grad(loss, module.tokenizer.last_layer)[0], logged


def test_a_killed_run_goes_on_bit_for_bit(recipe, tmp_path):
    """Balanced, with the game begun: killed when both the balance and the discriminator have seen the batch."""
    options = [*recipe, "--data.global_batch_size=6", "--trainer.max_steps=5", "--ema.decay=0.9"]
    options += ["--trainer.accumulate_grad_batches=2", "--checkpoint.every_n_train_steps=2"]
    options += ["--trainer.val_check_interval=2"]
    whole, resumed = killed_and_resumed(tmp_path, TokenizerModule, options, after=True, at=3)
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "balance"):
        same(whole[key], resumed[key], key)
    same(whole["callbacks"]["Adversary"], resumed["callbacks"]["Adversary"])
    assert whole["balance"].keys() == {"l1", "mel", "stft", "adversarial", "feature_matching"}


def test_what_is_measured_and_what_is_left_behind(recipe, tmp_path, capsys):
    """Held-out sounds have spectral figures, and no peak signal-to-noise ratio; the run's model is its tokenizer."""
    run = fit(tmp_path / "run", *recipe, "--trainer.max_steps=2")
    assert {name.split(".")[0] for name in checkpoint(run)["state_dict"]} == {"tokenizer"}
    assert main(["validate", f"--config={run / 'config.yaml'}", "--trainer.accelerator=cpu"]) == 0
    told = capsys.readouterr().out
    assert all(f"val/{name}" in told for name in ("mel", "stft", "l1", "loss")) and "psnr" not in told


def test_a_balance_may_begin_in_a_run_that_had_none(recipe, tmp_path):
    run = fit(tmp_path / "run", *recipe, "--trainer.max_steps=1", "--model.balancer=null")
    assert "balance" not in checkpoint(run)
    again = fit(run, *recipe, "--trainer.max_steps=2", "--ckpt_path=last")
    assert checkpoint(again)["balance"].keys() >= {"l1", "mel", "stft"}


def test_balanced_steps_have_the_gradient_of_the_shares():
    """Each loss's gradient by hand, through the reconstruction, of the norm of its share."""
    torch.manual_seed(0)
    x = sounds()
    module = TokenizerModule(
        tiny(), l1=0.5, l2=0.0, spectral=SPECTRAL, adversarial=game(weight=3.0), balancer=Balancer(norm=2.0)
    ).eval()
    found, _ = gradient_of_step(module, x)

    errors, made, _ = module._losses(x)
    losses = errors | module.adversary.losses(made.x, x, errors["l1"])
    total = torch.tensor(0.0)
    for name, share in {"l1": 0.5, "mel": 1.0, "stft": 0.5, "adversarial": 3.0, "feature_matching": 2.0}.items():
        (gradient,) = torch.autograd.grad(losses[name], made.x, retain_graph=True)
        norm = len(x) * gradient.flatten(1).norm(dim=1).mean()
        total = total + 2.0 * share / 7.0 * (made.x * gradient / norm).sum()
    (wanted,) = torch.autograd.grad(total, module.tokenizer.last_layer)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


def test_plain_steps_have_the_gradient_of_the_weighted_sum():
    torch.manual_seed(0)
    x = sounds()
    module = TokenizerModule(tiny(), l1=0.5, spectral=SPECTRAL).eval()
    found, logged = gradient_of_step(module, x)
    made = module.tokenizer(x).x
    loss = 0.5 * (made - x).abs().mean() + (made - x).square().mean() + sum(SPECTRAL(made, x).values())
    torch.testing.assert_close(found, torch.autograd.grad(loss, module.tokenizer.last_layer)[0])
    assert {f"train/{name}" for name in ("l1", "l2", "mel", "stft", "loss")} <= logged.keys()


def test_the_loss_that_is_told_is_the_weighted_sum_with_a_balance_too():
    torch.manual_seed(0)
    x = sounds()
    plain = TokenizerModule(tiny(), spectral=SPECTRAL).eval()
    balanced = TokenizerModule(plain.tokenizer, spectral=SPECTRAL, balancer=Balancer()).eval()
    (one, told), (other, also) = (gradient_of_step(module, x) for module in (plain, balanced))
    assert told["train/loss"].item() == pytest.approx(also["train/loss"].item())
    assert not torch.allclose(one, other)
    assert {f"train/norm_{name}" for name in ("l1", "l2", "mel", "stft")} <= also.keys()


def test_a_tokenizer_may_say_what_it_reconstructs():
    """Of spectrograms, errors are those of spectrograms."""
    torch.manual_seed(0)
    tokenizer = MelTokenizer(FSQ([4, 4]), seconds=0.05, n_fft=128, hop=40, bins=8, width=8, blocks=0).eval()
    errors, made, target = TokenizerModule(tokenizer)._losses(sounds())
    assert target.shape == made.x.shape == (3, 8, 20)
    torch.testing.assert_close(errors["l1"], (made.x - target).abs().mean())


def test_gradients_are_not_balanced_twice():
    settings = Adversarial(MultiPeriod(1, [2]), start=0)
    with pytest.raises(UserError, match="balances the adversarial loss too"):
        TokenizerModule(tiny(), adversarial=settings, balancer=Balancer())
    TokenizerModule(tiny(), adversarial=settings)
