"""What a run is made of, printed before it starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.table import Table
from torch import nn

from mmgen.core.console import SafeConsole
from mmgen.data.joint import JointData
from mmgen.training.averaging import EMA, ShardedEMA
from mmgen.training.joint_module import JointModule


@dataclass(frozen=True)
class Part:
    """A row of the table.

    Args:
        name: where it is in the model.
        parameters: their number.
        trainable: how many of them are trained.
        source: where the weights come from.
        weights: bytes of parameters and buffers.
        training: bytes of their gradients, of Adam's two moments, and of the averaged copy.
    """

    name: str
    parameters: int
    trainable: int
    source: str
    weights: int
    training: int


class StartUp(Callback):
    """Prints the model's parts, with size, state, source and memory, and how the global batch is divided."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if rank_zero_only.rank == 0:
            title = f"{trainer.datamodule.split}, on {pl_module.device.type}"
            SafeConsole().print(table(list(parts(trainer, pl_module)), title))


def parts(trainer: L.Trainer, pl_module: L.LightningModule) -> Iterator[Part]:
    """The parts of a module, down to where they have names of their own; then what trains it, and what the data module
    brings.
    """
    averaged = any(isinstance(callback, EMA | ShardedEMA) for callback in trainer.callbacks)
    source = str(trainer.ckpt_path) if trainer.ckpt_path else "from scratch"
    for name, module in _named(pl_module):
        if any(True for _ in (*module.parameters(), *module.buffers())):
            yield _part(name, module, source, averaged)
    for name, (module, origin) in getattr(pl_module, "auxiliary_networks", {}).items():
        yield _part(name, module, origin or source, averaged=False)
    data = trainer.datamodule
    for name, each in data.members.items() if isinstance(data, JointData) else [("", data)]:
        if each.tokenizer is not None:
            yield _part(f"{name} tokenizer".strip(), each.tokenizer, str(each.tokenizer_path), averaged=False)


def _named(pl_module: L.LightningModule) -> Iterator[tuple[str, nn.Module]]:
    """The parts by name; what the members of a joint run share, once."""
    if not isinstance(pl_module, JointModule):
        for name, outer in pl_module.named_children():
            yield from ((f"{name}.{part}", module) for part, module in outer.named_children())
        return
    yield "backbone", pl_module.backbone
    for name, member in pl_module.parts():
        own = (each for each in member.generator.named_children() if each[1] is not pl_module.backbone)
        yield from ((f"{name}.{part}", module) for part, module in own)


def _part(name: str, module: nn.Module, source: str, averaged: bool) -> Part:
    parameters = list(module.parameters())
    weights = sum(each.nbytes for each in (*parameters, *module.buffers()))
    trained = [each for each in parameters if each.requires_grad]
    training = 3 * sum(each.nbytes for each in trained) + averaged * weights
    return Part(name, sum(p.numel() for p in parameters), sum(p.numel() for p in trained), source, weights, training)


def table(rows: list[Part], title: str) -> Table:
    """The rows and their sum. Memory does not count activations, which depend on the batch."""
    grid = Table(title=title, title_justify="left", title_style="")
    for column in ("part", "parameters", "state", "source", "weights", "training"):
        style: dict[str, Any] = {"no_wrap": column in ("part", "state"), "overflow": "fold"}
        grid.add_column(column, justify="left" if column in ("part", "state", "source") else "right", **style)
    for row in rows:
        some = "trainable" if row.trainable == row.parameters else f"{row.trainable:,} trainable"
        state = some if row.trainable else "frozen"
        grid.add_row(row.name, f"{row.parameters:,}", state, row.source, _size(row.weights), _size(row.training))
    grid.add_section()
    sums = [sum(getattr(row, name) for row in rows) for name in ("parameters", "trainable", "weights", "training")]
    sizes = _size(sums[2]), f"+ {_size(sums[3])}"
    grid.add_row("all", f"{sums[0]:,}", f"{sums[1]:,} trainable", "memory without activations:", *sizes)
    return grid


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
