"""A plan as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from mmgen.tools.plan.estimate import Plan
from mmgen.tools.plan.setup import get_device

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


def show(plan: Plan, console: Console) -> None:
    """Print a plan."""
    setup, memory = plan.setup, plan.memory
    device = f"{setup.gpus} {get_device(setup.device).name}, {setup.strategy}, {setup.precision}; {plan.split}"
    parts = [(name, f"{count:,}") for name, count in plan.parameters.items()]
    total: tuple[str, ...] = ("all", f"{sum(plan.parameters.values()):,}")
    _print(console, f"{plan.recipe}: {plan.tokens}", ("part", "parameters"), parts, total)
    flops = [
        ("maps of the blocks", *[_si(plan.linear_flops)] * 2),
        (f"attention ({plan.visible:.0%} visible)", _si(plan.attention_flops), _si(plan.visible_flops)),
        ("embeddings, condition, head", *[_si(plan.rest_flops)] * 2),
    ]
    total = f"all, {plan.positions:.3g} positions a token", _si(plan.dense_flops), _si(plan.sparse_flops)
    columns = "part", "all pairs", "visible pairs"
    _print(console, "operations per token, forward and backward", columns, flops, total)
    held = [(name, f"{count / 1e9:.3f}", _MEANING[name]) for name, count in vars(memory).items() if count]
    total = "all", f"{memory.total / 1e9:.3f}", f"of {plan.capacity / 1e9:.0f}"
    _print(console, f"memory of one of {device}", ("part", "GB", "what"), held, total)
    times = [
        ("tokens a second", f"{plan.tokens_per_second:,.0f}"),
        ("tokens of the run", _si(plan.total_tokens)),
        ("optimiser steps", f"{plan.steps:,.0f}"),
        ("days", f"{plan.days:.3g}"),
        ("device days", f"{plan.days * setup.gpus:.3g}"),
    ]
    title = f"time, if {setup.mfu:.0%} of the device's best rate is reached, all pairs counted"
    _print(console, title, ("", ""), times)
    for note in plan.notes:
        console.print(f"note: {note}", style="yellow", highlight=False)
    if not plan.fits:
        console.print(f"It does not fit: {_advice(plan)}", style="bold red", highlight=False)


def _print(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] = ()
) -> None:
    table = Table(show_header=any(columns))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number and name != "what" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    if total:
        table.add_section()
        table.add_row(*total)
    console.print(title, style="bold", highlight=False)
    console.print(table, "")


def _advice(plan: Plan) -> str:
    memory = plan.memory
    if memory.activations + memory.logits > memory.total / 2:
        return "more than half is activations; try --accumulate 2, or --set model.backbone.checkpointing=true"
    if plan.setup.strategy == "ddp":
        return "more than half is the model and its optimiser; try --strategy fsdp"
    return "more than half is the model and its optimiser; take more devices, or larger ones"


def _si(number: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P"):
        if number < 1000:
            return f"{number:.3g} {unit}".strip()
        number /= 1000
    return f"{number:.3g} E"
