"""Two networks, two optimisers, and a trainer whose settings mean what they always do."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torchvision import models

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.store.store import load_tokenizer, save_export
from mmgen.tokenizers import Tokenizer
from mmgen.tokenizers.losses import Adversarial, FeatureLoss, PatchGAN, feature_matching
from mmgen.tokenizers.quantizers import BSQ
from mmgen.training import TokenizerModule
from mmgen.training.adversarial import Adversary
from mmgen.training.optim import FusedAdamW
from mmgen.training.startup import parts
from tests.training.fits import TOKENIZER, checkpoint, fit, killed_and_resumed
from tests.training.test_resume import same

PLAIN = [*TOKENIZER, "--data.global_batch_size=4", "--trainer.val_check_interval=100"]
GAN = [
    *PLAIN,
    "--model.adversarial.discriminator=PatchGAN",
    "--model.adversarial.discriminator.channels=1",
    "--model.adversarial.discriminator.width=4",
    "--model.adversarial.discriminator.layers=1",
    "--model.adversarial.start=2",
]


def adversary(run) -> dict:
    return checkpoint(run)["callbacks"]["Adversary"]


def moments(run) -> dict:
    """The discriminator's average gradients."""
    return {name: state["exp_avg"] for name, state in adversary(run)["optimizer"]["state"].items()}


@pytest.fixture(scope="module")
def five(digits, tmp_path_factory):
    """A run of five steps of two batches, with an average, in which the game begins after two; and what was asked of
    both optimisers.
    """
    steps, step = [], FusedAdamW.step

    def notes(self, closure=None):
        step(self, closure)  # the tokenizer's closure makes and clips its gradients
        gradients = [each.grad for group in self.param_groups for each in group["params"]]
        steps.append((id(self), torch.stack([each.norm() for each in gradients]).norm().item()))

    options = ["--trainer.max_steps=5", "--trainer.accumulate_grad_batches=2", "--ema.decay=0.9"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FusedAdamW, "step", notes)
        run = fit(tmp_path_factory.mktemp("runs") / "gan", *GAN, *digits, *options, "--trainer.gradient_clip_val=1e-3")
    return run, steps


def test_max_steps_are_the_tokenizers(five):
    """Neither two optimisers nor two batches a step change how long the run is; the discriminator has what is left."""
    run, steps = five
    saved = checkpoint(run)
    assert saved["global_step"] == saved["lr_schedulers"][0]["last_epoch"] == 5
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"] == 10
    assert adversary(run)["schedule"]["last_epoch"] == 3
    assert {state["step"].item() for state in adversary(run)["optimizer"]["state"].values()} == {3}
    (tokenizer, _), *_ = steps
    assert [optimizer == tokenizer for optimizer, _ in steps] == [True, True, True, False, True, False, True, False]


def test_each_network_is_clipped_by_its_own_norm(five):
    """Clipped together, the two would have this norm together, and each of them a smaller one."""
    _, steps = five
    assert [norm for _, norm in steps] == pytest.approx([1e-3] * len(steps), rel=1e-2)


def test_the_discriminator_is_left_behind(five, tmp_path):
    run, _ = five
    saved = checkpoint(run)
    for state in (saved["state_dict"], saved["current_model_state"]):
        assert {name.split(".")[0] for name in state} == {"tokenizer"}
    assert sum(len(group["params"]) for group in saved["optimizer_states"][0]["param_groups"]) == len(
        list(load_tokenizer(run).parameters())
    )
    save_export(run, tmp_path / "export")
    for one, other in zip(load_tokenizer(tmp_path / "export").parameters(), load_tokenizer(run).parameters()):
        assert one.equal(other)


def test_a_run_with_a_discriminator_is_measured_again(five, capsys):
    run, _ = five
    assert main(["validate", f"--config={run / 'config.yaml'}", "--trainer.accelerator=cpu"]) == 0
    assert "val/psnr_db" in capsys.readouterr().out


def test_before_it_begins_nothing_is_different(digits, tmp_path):
    """The same weights to the last bit, from the same start: not even random numbers are drawn otherwise."""
    plain = checkpoint(fit(tmp_path / "plain", *PLAIN, *digits, "--trainer.max_steps=2"))
    waiting = checkpoint(fit(tmp_path / "waiting", *GAN, *digits, "--trainer.max_steps=2"))
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        same(plain[key], waiting[key], key)


def test_from_then_on_both_learn(digits, tmp_path):
    plain = fit(tmp_path / "plain", *PLAIN, *digits, "--trainer.max_steps=1")
    gan = fit(tmp_path / "gan", *GAN, *digits, "--trainer.max_steps=1", "--model.adversarial.start=0")
    name = "tokenizer.decoder.0.weight"
    assert not checkpoint(plain)["state_dict"][name].equal(checkpoint(gan)["state_dict"][name])
    assert all(each["exp_avg"].abs().sum() > 0 for each in adversary(gan)["optimizer"]["state"].values())


def test_accumulated_batches_are_one_batch(digits, tmp_path):
    """4 at once, or 2 twice, in float64: both networks agree after three steps of the game, and so do the sizes of the
    gradients, which Adam hides. The balance is off: it is each accumulated batch's own.
    """
    options = [*GAN, *digits, "--trainer.precision=64-true", "--trainer.max_steps=3", "--model.adversarial.start=0"]
    options += ["--model.adversarial.adaptive=false", "--model.tokenizer.quantizer.entropy_weight=0"]
    options += ["--trainer.gradient_clip_val=1e6"]
    runs = [fit(tmp_path / str(k), *options, f"--trainer.accumulate_grad_batches={k}") for k in (1, 2)]
    one, two = (checkpoint(run)["state_dict"] | adversary(run)["discriminator"] | moments(run) for run in runs)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=0, atol=1e-9, msg=str(name))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_killed_run_goes_on_bit_for_bit(accumulate, digits, tmp_path):
    """Batches of 6 of 16 samples, killed when the game has begun, within an epoch and past the first of them."""
    options = [*GAN, *digits, "--data.global_batch_size=6", "--trainer.max_steps=7", "--ema.decay=0.9"]
    options += [f"--trainer.accumulate_grad_batches={accumulate}", "--checkpoint.every_n_train_steps=2"]
    whole, resumed = killed_and_resumed(tmp_path, TokenizerModule, options, after=True)
    weights = ("state_dict", "current_model_state", "averaging_state")
    for key in (*weights, "optimizer_states", "lr_schedulers", "DataModule"):
        same(whole[key], resumed[key], key)
    same(whole["callbacks"]["Adversary"], resumed["callbacks"]["Adversary"])


def test_a_game_may_begin_in_a_run_that_had_none(digits, tmp_path):
    run = fit(tmp_path / "run", *PLAIN, *digits, "--trainer.max_steps=2")
    fit(run, *GAN, *digits, "--trainer.max_steps=4", "--ckpt_path=last")
    assert adversary(run)["schedule"]["last_epoch"] == 2


def module(**options):
    tokenizer = ConvImageTokenizer(BSQ(4), image_size=8, width=8)
    return TokenizerModule(
        tokenizer, adversarial=Adversarial(PatchGAN(1, width=4, layers=1), start=0, **options), l2=3.0
    )


def test_the_tokenizers_gradient_is_that_of_the_weighted_sum():
    """Reconstruction plus weight times balance times game, by hand; the discriminator's is that of its own loss."""
    made = module(weight=0.7)
    made.adversary._accumulate = 1
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    errors, y, _ = made._losses(x)
    losses = made.adversary.losses(y.x, x, sum(errors.values()))
    (sum([*errors.values(), *y.losses.values()]) + losses["adversarial"]).backward()
    both = [each.grad.clone() for each in made.parameters()]
    its_own = [each.grad.clone() for each in made.adversary.net.parameters()]

    made.zero_grad()
    made.adversary.net.zero_grad()
    net = made.adversary.net
    errors, y, _ = made._losses(x)
    last = made.tokenizer.last_layer
    game, error = -net(y.x).mean(), sum(errors.values())
    norms = [torch.autograd.grad(each, last, retain_graph=True)[0].norm() for each in (error, game)]
    (error + sum(y.losses.values()) + 0.7 * (norms[0] / (norms[1] + 1e-4)).item() * game).backward()
    for one, each in zip(both, made.parameters(), strict=True):
        torch.testing.assert_close(one, each.grad)
    net.zero_grad()
    (((1 - net(x)).relu().mean() + (1 + net(y.x.detach())).relu().mean()) / 2).backward()
    for one, each in zip(its_own, net.parameters(), strict=True):
        torch.testing.assert_close(one, each.grad)


def test_matching_features_teaches_the_tokenizer_and_not_the_discriminator():
    """Its gradient is that of the distance, by hand; the discriminator's does not know of it."""
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.manual_seed(0)
    plain = module(adaptive=False)
    matching = TokenizerModule(
        plain.tokenizer,
        adversarial=Adversarial(copy.deepcopy(plain.adversary.net), 0, adaptive=False, feature_matching=2),
    )
    gradients = []
    for each in (plain, matching):
        each.adversary._accumulate = 1
        made = each.tokenizer(x)
        losses = each.adversary.losses(made.x, x, made.x.mean())
        losses.get("feature_matching", 0 * made.x.sum()).backward()
        gradients.append([parameter.grad for parameter in each.adversary.net.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one.equal(other)
    net, made = plain.adversary.net, plain.tokenizer(x).x
    wanted = 2 * feature_matching(net.verdicts(x), net.verdicts(made))
    torch.testing.assert_close(losses["feature_matching"], wanted)


def test_the_table_lists_what_trains_beside_the_tokenizer(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(models.squeezenet1_1(weights=None).state_dict(), path)
    made = module()
    made.perceptual = FeatureLoss("squeezenet1_1", [1], str(path))
    trainer = SimpleNamespace(callbacks=[], ckpt_path=None, datamodule=SimpleNamespace(tokenizer=None))
    rows = {row.name: row for row in parts(trainer, made)}
    assert rows["discriminator"].trainable == sum(each.numel() for each in made.adversary.net.parameters())
    assert (rows["perceptual"].trainable, rows["perceptual"].source) == (0, str(path))
    assert rows.keys() == {"tokenizer.encoder", "tokenizer.decoder", "perceptual", "discriminator"}


def test_a_game_that_cannot_be_played_is_refused_before_it_begins(monkeypatch):
    game = Adversarial(PatchGAN(3, width=4, layers=1), start=1000)
    with pytest.raises(UserError, match="3 channels"):
        TokenizerModule(ConvImageTokenizer(BSQ(4), image_size=8, width=8), adversarial=game)
    with monkeypatch.context() as patch:
        patch.setattr(ConvImageTokenizer, "last_layer", Tokenizer.last_layer)
        with pytest.raises(UserError, match="no last layer"):
            module()
        module(adaptive=False)
    adversary = module().adversary
    with pytest.raises(UserError, match="use ddp"):
        adversary.setup(SimpleNamespace(strategy=object()), None, "fit")


def test_a_copy_for_the_average_copies_no_discriminator():
    made = module()
    assert copy.deepcopy(made).adversary is made.adversary
    assert isinstance(made.configure_callbacks()[0], Adversary)
