"""Runs of several processes under torchrun, for tests that compare them with a run of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mmgen
from tests.training.fits import GENERATOR, QUICK

GLOBAL, STEPS = 8, 4
OPTIONS = [
    *GENERATOR,
    "--model.backbone.depth=2",
    f"--data.global_batch_size={GLOBAL}",
    f"--trainer.max_steps={STEPS}",
    "--trainer.gradient_clip_val=0.1",  # smaller than the gradients are
    "--trainer.val_check_interval=2",
    "--ema.decay=0.9",
]
DOUBLE = ["--trainer.precision=64-true"]
# Lightning refuses 64-true by name with a strategy of this kind, and takes the same as a plugin.
SHARDED = ["--config=configs/trainer/fsdp.yaml", "--trainer.plugins=lightning.pytorch.plugins.DoublePrecision"]


def command(run: Path, *options: str) -> list[str]:
    return ["fit", *QUICK, *OPTIONS, *options, f"--run={run}"]


def launch(processes: int, commands: list[list[str]]) -> None:
    """All commands, one after the other, by so many processes."""
    root = str(Path(mmgen.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    script = str(Path(__file__).with_name("splits.py"))
    done = subprocess.run([*torchrun, script, json.dumps(commands)], env=environment, cwd=root, timeout=600)
    assert done.returncode == 0


def assert_same(one: dict, other: dict, bound: float = 1e-10) -> None:
    """Weights, their average and the optimiser's moments of two checkpoints."""
    assert one["global_step"] == other["global_step"] == STEPS
    for key in ("current_model_state", "state_dict"):
        assert one[key].keys() == other[key].keys()
        for name, value in one[key].items():
            assert (value - other[key][name]).abs().max() < bound, (key, name)
    moved = [(one["state_dict"][name] - value).abs().max() for name, value in one["current_model_state"].items()]
    assert max(moved) > 1e-4  # an average, and no copy
    (mine,), (theirs,) = one["optimizer_states"], other["optimizer_states"]
    assert [group["params"] for group in mine["param_groups"]] == [group["params"] for group in theirs["param_groups"]]
    assert mine["state"].keys() == theirs["state"].keys()
    for number, state in mine["state"].items():  # Adam's steps do not tell the size of a gradient
        for kind in ("exp_avg", "exp_avg_sq"):
            assert (state[kind] - theirs["state"][number][kind]).abs().max() < bound, (number, kind)
    assert one["averaging_state"]["n_averaged"] == other["averaging_state"]["n_averaged"]
