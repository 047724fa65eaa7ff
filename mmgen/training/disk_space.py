"""Space on the disk for what a run will write, checked before work is done that could not be saved."""

import shutil
import tempfile
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mmgen.core.errors import UserError
from mmgen.training.averaging import EMA
from mmgen.training.optim import trained_parameters

_MOMENTS = 2  # of Adam, a parameter
_METADATA = 2**20  # bytes of all else in a checkpoint, which are fewer


class DiskSpaceCheck(Callback):
    """Refuses to train where the run's checkpoints would not fit, or none can be written: the last, the one before it,
    and where it is written, the best, which is whole before it takes the place of the one that was best.

    Args:
        run: the run folder.
        best: whether the best checkpoint is written.
    """

    def __init__(self, run: Path, best: bool) -> None:
        self.folder, self.count = run / "checkpoints", 4 if best else 2

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if rank_zero_only.rank != 0 or trainer.fast_dev_run:
            return
        needed = checkpoint_bytes(pl_module, averaged=any(isinstance(each, EMA) for each in trainer.callbacks))
        require_space(self.folder, needed, self.count)


def checkpoint_bytes(module: L.LightningModule, averaged: bool) -> int:
    """About how many bytes a checkpoint of a module takes, with Adam's moments and, if it has one, its average."""
    adversary = getattr(module, "adversary", None)
    networks = [module] if adversary is None else [module, adversary.net]
    weights = sum(each.nbytes for network in networks for each in network.state_dict().values())
    return (1 + averaged) * weights + _MOMENTS * sum(each.nbytes for each in trained_parameters(module)) + _METADATA


def require_space(folder: Path, needed: int, count: int) -> None:
    """Make a folder for so many checkpoints of so many bytes, those in it included. Raises UserError where they do not
    fit, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"room")
        free = shutil.disk_usage(folder).free + sum(each.stat().st_size for each in folder.glob("*.ckpt"))
    except OSError as error:
        raise UserError(
            f"checkpoints cannot be written to {folder}: {error.strerror or error}; name another run folder with --run"
        ) from None
    if free < count * needed:
        fewer = ", do without the best checkpoint (--checkpoint.best false)" if count > 2 else ""
        raise UserError(
            f"{folder} has room for {free / 2**20:,.0f} MiB, and {count} checkpoints of this model take about"
            f" {count * needed / 2**20:,.0f} MiB: make room{fewer}, or name another run folder with --run"
        )
