"""Two processes train what one process trains: tokenizer, discriminator, and the balance of losses. This file is the
script they run.
"""

import os
import subprocess
import sys
from pathlib import Path

import mmgen
from mmgen.apps.cli.main import main
from tests.training.fits import QUICK, TOKENIZER, checkpoint, fit
from tests.training.sounds import hums

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


def test_two_ranks_train_what_one_does(digits, tmp_path):
    """In float64, with losses balanced by gradients. Plain `ddp`: no parameter is left without a gradient."""
    agree(*one_and_two([*DIGITS, *digits], tmp_path))


def test_two_ranks_train_the_codec_that_one_does(tmp_path):
    """On all losses of sound, each with its share of the gradient."""
    one, two = one_and_two(hums(tmp_path), tmp_path)
    agree(one, two)
    assert one["balance"].keys() == two["balance"].keys() == {"l1", "mel", "stft", "adversarial", "feature_matching"}
    for name, value in one["balance"].items():
        assert (value - two["balance"][name]).abs().max() < 1e-9, name


def one_and_two(options: list[str], folder: Path) -> tuple[dict, dict]:
    """Checkpoints of the same run by one process and by two."""
    root = str(Path(mmgen.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    options = [*options, *OPTIONS]
    ddp = [*QUICK, *options, "--trainer.devices=2", "--trainer.strategy=ddp", f"--run={folder / 'two'}"]
    ranks = subprocess.Popen([sys.executable, __file__, "fit", *ddp], env=environment, cwd=root)
    try:
        one = checkpoint(fit(folder / "one", *options))
        assert ranks.wait(timeout=300) == 0
    finally:
        ranks.kill()
    return one, checkpoint(folder / "two")


def agree(one: dict, two: dict) -> None:
    assert two["global_step"] == 3
    for key in ("current_model_state", "state_dict"):
        for name, value in one[key].items():
            assert (value - two[key][name]).abs().max() < 1e-9, name
    game, theirs = (each["callbacks"]["Adversary"] for each in (one, two))
    for name, value in game["discriminator"].items():
        assert (value - theirs["discriminator"][name]).abs().max() < 1e-9, name
    for name, state in game["optimizer"]["state"].items():  # Adam's steps do not tell the size of a gradient
        assert (state["exp_avg"] - theirs["optimizer"]["state"][name]["exp_avg"]).abs().max() < 1e-9, name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
