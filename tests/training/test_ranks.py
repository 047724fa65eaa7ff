"""Two processes train what one process trains: tokenizer, discriminator, and the balance of losses."""

import pytest

from tests.training.fits import QUICK, TOKENIZER, checkpoint, fit
from tests.training.sounds import hums
from tests.training.split_runs import launch

DIGITS = [
    *TOKENIZER,
    "--model.tokenizer.quantizer.entropy_weight=0",
    "--model.adversarial.discriminator=PatchGAN",
    "--model.adversarial.discriminator.channels=1",
    "--model.adversarial.discriminator.width=4",
    "--model.adversarial.start=1",
]
OPTIONS = [
    "--data.global_batch_size=8",
    "--trainer.precision=64-true",
    "--trainer.max_steps=3",
    "--trainer.gradient_clip_val=1e6",
    "--trainer.val_check_interval=100",
    "--ema.decay=0.9",
]


@pytest.fixture(scope="module")
def runs(digits, tmp_path_factory):
    """name -> checkpoints of the same run by one process and by two. In float64, and plain `ddp`: no parameter is left
    without a gradient.
    """
    folder = tmp_path_factory.mktemp("ranks")
    recipes = {"digits": [*DIGITS, *digits, *OPTIONS], "sounds": [*hums(folder), *OPTIONS]}
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    launch(2, [["fit", *QUICK, *options, *ddp, f"--run={folder / name}-two"] for name, options in recipes.items()])
    ones = {name: fit(folder / f"{name}-one", *options) for name, options in recipes.items()}
    return {name: (checkpoint(one), checkpoint(folder / f"{name}-two")) for name, one in ones.items()}


@pytest.mark.parametrize("name", ["digits", "sounds"])
def test_two_ranks_train_what_one_does(name, runs):
    """Digits with losses balanced by gradients; sounds on all their losses, each with its share of the gradient."""
    one, two = runs[name]
    assert two["global_step"] == 3
    for key in ("current_model_state", "state_dict"):
        for parameter, value in one[key].items():
            assert (value - two[key][parameter]).abs().max() < 1e-9, parameter
    game, theirs = (each["callbacks"]["Adversary"] for each in (one, two))
    for parameter, value in game["discriminator"].items():
        assert (value - theirs["discriminator"][parameter]).abs().max() < 1e-9, parameter
    for number, state in game["optimizer"]["state"].items():  # Adam's steps do not tell the size of a gradient
        assert (state["exp_avg"] - theirs["optimizer"]["state"][number]["exp_avg"]).abs().max() < 1e-9, number
    if name == "sounds":
        assert (
            one["balance"].keys() == two["balance"].keys() == {"l1", "mel", "stft", "adversarial", "feature_matching"}
        )
    for loss, value in one.get("balance", {}).items():
        assert (value - two["balance"][loss]).abs().max() < 1e-9, loss
