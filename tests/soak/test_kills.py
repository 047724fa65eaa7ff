"""Law 7 with real kills: SIGKILL at random moments, resumed each time, ends in the same weights bit for bit.

MMGEN_KILLS says how many times a run is killed (2 by default; `make soak` takes 20), MMGEN_SOAK_SEED which moments are
drawn (a new number each time by default, which is told).
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmgen.store.checkpoint_file import check_seal, find_checkpoint, one_before, read_checkpoint
from tests.soak.lives import Lives
from tests.training.fits import QUICK, fake
from tests.training.test_resume import VQ, same

KILLS = int(os.environ.get("MMGEN_KILLS", "2"))
SEED = int(os.environ.get("MMGEN_SOAK_SEED", random.SystemRandom().randrange(10**6)))
STEPS_A_LIFE = 6  # at most, before it is killed
LONGEST = 300.0  # seconds until a life that makes no checkpoint counts as hung


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    made = Lives(tmp_path / "log.txt")
    yield made
    made.close()


class Killer:
    """Kills a life at a random moment: some checkpoints after it began, and up to a step's time later."""

    def __init__(self, file: Path, draw: random.Random) -> None:
        self.file, self.draw = file, draw
        self.step_seconds = 0.05

    def __call__(self, process: int) -> None:
        wanted, seen, began = self.draw.randint(1, STEPS_A_LIFE), 0, time.monotonic()
        written, last = self._written(), began
        while seen < wanted and time.monotonic() - began < LONGEST:
            if (now := self._written()) != written:
                written, seen = now, seen + 1
                if seen > 1:
                    self.step_seconds = time.monotonic() - last
                last = time.monotonic()
            time.sleep(0.0005)
        time.sleep(self.draw.uniform(0, min(self.step_seconds, 1.0)))
        os.kill(process, signal.SIGKILL)

    def _written(self) -> tuple[int, int] | None:
        try:
            about = self.file.stat()
        except FileNotFoundError:
            return None
        return about.st_ino, about.st_mtime_ns


def test_a_run_that_is_killed_over_and_over_ends_in_the_same_weights(lives: Lives, tmp_path: Path) -> None:
    print(f"MMGEN_SOAK_SEED={SEED}, {KILLS} kills")
    steps = (STEPS_A_LIFE + 2) * (KILLS + 1)
    options = [*QUICK, *VQ, *fake(tmp_path / "digits"), "--data.global_batch_size=6", f"--trainer.max_steps={steps}"]
    options += ["--ema.decay=0.9", "--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=5"]
    whole, killed = ["fit", *options, f"--run={tmp_path / 'whole'}"], ["fit", *options, f"--run={tmp_path / 'killed'}"]
    assert lives.live(whole) == 0, lives.log.read_text()

    file = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    killer, reached, torn = Killer(file, random.Random(SEED)), [], 0
    for number in range(KILLS):
        resume = ["--ckpt_path=last"] if number else []
        status = lives.live([*killed, *resume], killer)
        assert status == -signal.SIGKILL, f"seed {SEED}: it ended by itself: {lives.log.read_text()}"
        check_seal(file)  # whatever the moment, what is called `last` is whole
        assert find_checkpoint(file) == (file, None)
        reached.append(read_checkpoint(file)["global_step"])
        if one_before(file).exists():
            check_seal(one_before(file))
        torn += (file.parent / f".{file.name}.partial").exists()
    assert reached == sorted(reached)
    assert 0 < reached[0] <= reached[-1] < steps
    assert lives.live([*killed, "--ckpt_path=last"]) == 0, f"seed {SEED}: {lives.log.read_text()}"
    print(f"killed after steps {reached} of {steps}; {torn} times while a checkpoint was being written")

    one, other = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        for run in (tmp_path / "whole", tmp_path / "killed")
    )
    assert one["global_step"] == other["global_step"] == steps
    weights = ("state_dict", "current_model_state", "averaging_state")
    for key in (*weights, "optimizer_states", "lr_schedulers", "DataModule"):
        same(one[key], other[key], key)
