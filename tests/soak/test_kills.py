"""Law 7 with real faults: SIGKILL, SIGTERM, Ctrl-C and a full disk at random moments, resumed each time, end in the
same weights bit for bit: with a codebook, with dropout, and with validations on the steps of checkpoints.

MMGEN_KILLS says how many times each run is stopped in each way (2 by default; `make soak` takes 30), MMGEN_SOAK_SEED
which moments are drawn (a new number each time by default, which is told).
"""

import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.store.checkpoint_file import check_seal, find_checkpoint, one_before, read_checkpoint
from tests.soak.lives import Lives
from tests.training.fits import GENERATOR, QUICK, TOKENIZER, fake
from tests.training.test_resume import VQ, same

KILLS = int(os.environ.get("MMGEN_KILLS", "2"))
SEED = int(os.environ.get("MMGEN_SOAK_SEED", random.SystemRandom().randrange(10**6)))
STEPS_A_LIFE = 6  # at most, before it is stopped
STEPS = (STEPS_A_LIFE + 2) * (KILLS + 1)
LONGEST = 300.0  # seconds until a life that makes no checkpoint counts as hung
STATE = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "DataModule")


@dataclass(frozen=True)
class Story:
    """A run that is left alone, and the command of another one of the same."""

    lives: Lives
    options: list[str]
    whole: dict[str, Any]

    def command(self, run: Path) -> list[str]:
        """Starts the run, or goes on with it where it has a checkpoint."""
        resume = ["--ckpt_path=last"] * last(run).exists()
        return ["fit", *self.options, f"--run={run}", *resume]

    def assert_same(self, run: Path) -> None:
        """It ended as the one that was left alone."""
        checkpoint = torch.load(last(run), weights_only=True)
        assert self.whole["global_step"] == checkpoint["global_step"] == STEPS
        for key in STATE:
            same(self.whole[key], checkpoint[key], key)


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    made = Lives(tmp_path_factory.mktemp("lives") / "log.txt")
    yield made
    made.close()


@pytest.fixture(scope="module", params=["codebook", "dropout"])
def story(request: pytest.FixtureRequest, lives: Lives, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Checkpoints after each step, so that each validation is on the step of one."""
    folder = tmp_path_factory.mktemp(request.param)
    data = [*fake(folder / "digits"), "--data.global_batch_size=6"]
    if request.param == "codebook":
        recipe = VQ
    else:
        tokenizer = ["fit", *QUICK, *TOKENIZER, *data, "--trainer.max_steps=1", f"--run={folder / 'tokenizer'}"]
        assert lives.live(tokenizer) == 0, lives.log.read_text()
        recipe = [*GENERATOR, "--model.backbone.dropout=0.2", f"--data.tokenizer={folder / 'tokenizer'}"]
    options = [*QUICK, *recipe, *data, f"--trainer.max_steps={STEPS}", "--ema.decay=0.9"]
    options += ["--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=5"]
    assert lives.live(["fit", *options, f"--run={folder / 'whole'}"]) == 0, lives.log.read_text()
    return Story(lives, options, torch.load(last(folder / "whole"), weights_only=True))


class Stop:
    """Stops a life at a random moment: some checkpoints after it began, and up to a step's time later; or, now and
    then, while it starts.
    """

    def __init__(self, file: Path, draw: random.Random, signals: list[int]) -> None:
        self.file, self.draw, self.signals = file, draw, signals
        self.step_seconds, self.sent = 0.05, 0

    def __call__(self, process: int) -> None:
        wanted, seen, began = self.draw.randint(0, STEPS_A_LIFE), 0, time.monotonic()
        written, last = self._written(), began
        while seen < wanted and time.monotonic() - began < LONGEST:
            if (now := self._written()) != written:
                written, seen = now, seen + 1
                if seen > 1:
                    self.step_seconds = time.monotonic() - last
                last = time.monotonic()
            time.sleep(0.0005)
        time.sleep(self.draw.uniform(0, min(self.step_seconds, 1.0) if wanted else 1.0))
        self.stop(process)

    def stop(self, process: int) -> None:
        """Do what ends it."""
        self.sent = self.draw.choice(self.signals)
        os.kill(process, self.sent)

    def _written(self) -> tuple[int, int] | None:
        try:
            about = self.file.stat()
        except FileNotFoundError:
            return None
        return about.st_ino, about.st_mtime_ns


class FullDisk(Stop):
    """No file may grow beyond a part of a checkpoint, which refuses writes as a full disk does."""

    def __init__(self, file: Path, draw: random.Random, log: Path) -> None:
        super().__init__(file, draw, [])
        self.log = log

    def stop(self, process: int) -> None:
        least = self.log.stat().st_size + 20_000  # the log is a file as well
        most = max(least, self.file.stat().st_size - 1) if self.file.exists() else least
        size, hard = self.draw.randint(least, most), resource.prlimit(process, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGTERM, signal.SIGINT]], ids=["kill", "term or int"])
def test_a_run_that_is_stopped_over_and_over_ends_in_the_same_weights(
    signals: list[int], story: Story, tmp_path: Path
) -> None:
    print(f"MMGEN_SOAK_SEED={SEED}, {KILLS} times")
    run, log = tmp_path / "run", story.lives.log
    stop, reached, torn = Stop(last(run), random.Random(SEED), signals), [0], 0
    for _ in range(KILLS):
        status = story.lives.live(story.command(run), stop)
        assert status == (-9 if stop.sent == signal.SIGKILL else 128 + stop.sent), f"{SEED}: {log.read_text()}"
        if not last(run).exists():  # it was starting
            continue
        check_seal(last(run))  # whatever the moment, what is called `last` is whole
        assert find_checkpoint(last(run)) == (last(run), None)
        reached.append(read_checkpoint(last(run))["global_step"])
        if one_before(last(run)).exists():
            check_seal(one_before(last(run)))
        torn += (last(run).parent / f".{last(run).name}.partial").exists()
    assert reached == sorted(reached)
    assert reached[-1] < STEPS
    assert story.lives.live(story.command(run)) == 0, f"seed {SEED}: {log.read_text()}"
    print(f"stopped after steps {reached[1:]} of {STEPS}; {torn} times while a checkpoint was being written")
    story.assert_same(run)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits other processes")
def test_a_run_whose_disk_is_full_over_and_over_ends_in_the_same_weights(story: Story, tmp_path: Path) -> None:
    """Each time it says so in one line, and its last checkpoint is whole."""
    print(f"MMGEN_SOAK_SEED={SEED}, {KILLS} times")
    run, log = tmp_path / "run", story.lives.log
    full, reached = FullDisk(last(run), random.Random(SEED), log), [0]
    for _ in range(KILLS):
        before = log.stat().st_size
        assert story.lives.live(story.command(run), full) == 2, f"seed {SEED}: {log.read_text()}"
        lines = [line for line in log.read_bytes()[before:].decode().splitlines() if line.startswith("mmgen: ")]
        assert len(lines) == 1 and "File too large" in lines[0], lines
        assert "Traceback" not in log.read_text()
        assert not list(run.rglob("*.partial"))
        if last(run).exists():
            check_seal(last(run))
            reached.append(read_checkpoint(last(run))["global_step"])
    assert reached == sorted(reached)
    assert story.lives.live(story.command(run)) == 0, f"seed {SEED}: {log.read_text()}"
    story.assert_same(run)
