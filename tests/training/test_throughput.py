"""What a run logs of its speed, on a clock of our own."""

from types import SimpleNamespace
from typing import Any

import pytest

from mmgen.training.progress import Throughput


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Module:
    work_unit = "tokens"

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def work(self, batch: Any) -> int:
        return 50

    def log(self, name: str, value: float, prog_bar: bool = False) -> None:
        self.logged[name] = value


def test_waiting_is_what_passes_between_steps_but_for_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches that take 1 s to load and 3 s to train on, with 40 s of validation between them."""
    clock, module, throughput = Clock(), Module(), Throughput()
    monkeypatch.setattr("mmgen.training.progress.time", clock)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_should_accumulate=lambda: False))
    trainer: Any = SimpleNamespace(
        fit_loop=loop, world_size=2, global_step=1, log_every_n_steps=2, sanity_checking=False
    )
    given: Any = module
    throughput.on_train_start(trainer, given)
    for step in (1, 2):
        trainer.global_step = step
        clock.now += 1
        throughput.on_train_batch_start(trainer, given, {}, step)
        clock.now += 3
        throughput.on_train_batch_end(trainer, given, None, {}, step)
        if step == 1:
            assert not module.logged
            throughput.on_validation_start(trainer, given)
            clock.now += 40
            throughput.on_validation_end(trainer, given)
    assert module.logged == {"train/tokens_per_second": 25.0, "train/wait_share": 0.25}
