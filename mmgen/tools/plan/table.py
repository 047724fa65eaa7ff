"""A plan as tables."""

from rich.console import Console
from rich.table import Table

from mmgen.tools.plan.devices import device
from mmgen.tools.plan.estimate import Plan

_MEANING = {
    "weights": "parameters and buffers",
    "gradients": "of the trained ones",
    "optimizer": "AdamW's two moments",
    "average": "EMA",
    "buckets": "in which DDP sums gradients",
    "gathered": "whole weights of the moment, under FSDP",
    "casts": "bfloat16 copies of matrices",
    "activations": "kept for the backward pass",
    "logits": "a copy of predictions, or their gradient",
}


def show(made: Plan, console: Console) -> None:
    """Print a plan."""
    wish = made.wish
    tables = {
        f"{made.recipe}: {made.tokens}": _parameters(made),
        "operations per token, forward and backward": _flops(made),
        f"memory of one of {wish.gpus} {device(wish.device).name}, {wish.strategy}, {wish.precision}; {made.split}": (
            _memory(made)
        ),
        f"time, if {wish.mfu:.0%} of the device's best rate is reached, all pairs counted": _time(made),
    }
    for title, table in tables.items():
        console.print(title, style="bold", highlight=False)
        console.print(table, "")
    for note in made.notes:
        console.print(f"note: {note}", style="yellow", highlight=False)
    if not made.fits:
        console.print(f"It does not fit: {_advice(made)}", style="bold red", highlight=False)


def _parameters(made: Plan) -> Table:
    table = _table("part", "parameters")
    for name, count in made.parameters.items():
        table.add_row(name, f"{count:,}")
    table.add_section()
    table.add_row("all", f"{sum(made.parameters.values()):,}")
    return table


def _flops(made: Plan) -> Table:
    table = _table("part", "all pairs", "visible pairs")
    table.add_row("maps of the blocks", *[_si(made.linear_flops)] * 2)
    table.add_row(f"attention ({made.visible:.0%} visible)", _si(made.attention_flops), _si(made.visible_flops))
    table.add_row("embeddings, condition, head", *[_si(made.rest_flops)] * 2)
    table.add_section()
    table.add_row(f"all, {made.positions:.3g} positions a token", _si(made.dense_flops), _si(made.sparse_flops))
    return table


def _memory(made: Plan) -> Table:
    table = _table("part", "GB", "what")
    for name, count in vars(made.memory).items():
        if count:
            table.add_row(name, f"{count / 1e9:.3f}", _MEANING[name])
    table.add_section()
    table.add_row("all", f"{made.memory.total / 1e9:.3f}", f"of {made.capacity / 1e9:.0f}")
    return table


def _time(made: Plan) -> Table:
    table = _table("", "")
    table.add_row("tokens a second", f"{made.tokens_per_second:,.0f}")
    table.add_row("tokens of the run", _si(made.total_tokens))
    table.add_row("optimiser steps", f"{made.steps:,.0f}")
    table.add_row("days", f"{made.days:.3g}")
    table.add_row("device days", f"{made.days * made.wish.gpus:.3g}")
    return table


def _advice(made: Plan) -> str:
    memory, moving = made.memory, made.memory.activations + made.memory.logits
    if moving > memory.total / 2:
        return "more than half is activations; try --accumulate 2, or --set model.backbone.checkpointing=true"
    if made.wish.strategy == "ddp":
        return "more than half is the model and its optimiser; try --strategy fsdp"
    return "more than half is the model and its optimiser; take more devices, or larger ones"


def _table(*columns: str) -> Table:
    table = Table(show_header=any(columns))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number and name != "what" else "left", no_wrap=True)
    return table


def _si(number: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P"):
        if number < 1000:
            return f"{number:.3g} {unit}".strip()
        number /= 1000
    return f"{number:.3g} E"
