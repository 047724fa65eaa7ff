"""A plan against what this machine measures: the whole model, forward and backward, one step of its optimiser."""

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from mmgen.core.draws import Draws
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm
from mmgen.tools.plan.estimate import plan
from mmgen.tools.plan.recipe import Recipe
from mmgen.tools.plan.rehearsal import members, random_condition, random_tokens, saved_bytes
from mmgen.tools.plan.setup import Precision, Setup

ROWS = 4

Figures = dict[str, float]
"""`flops`, forward and backward, and bytes of `weights` (with buffers), `gradients`, `optimizer` (AdamW's state) and
`saved` (by autograd for the backward pass)."""


def measure(generator: Generator, paradigm: Paradigm, precision: Precision = "32-true") -> Figures:
    """Train one step on random tokens, on the CPU."""
    generator = generator.to(torch.bfloat16 if precision == "bf16-true" else torch.float32)
    tokens, draws = random_tokens(generator.spec, ROWS), Draws(0, torch.arange(ROWS))
    optimizer = torch.optim.AdamW(generator.parameters())
    counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
    with counter, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        with saved_bytes(generator) as saved:
            losses = paradigm.losses(generator, tokens, random_condition(generator, ROWS), draws)
            loss = torch.cat(list(losses.values())).mean()
            saved_total = saved.total
            saved.tensors.clear()
        loss.backward()
    optimizer.step()
    return {
        "flops": counter.get_total_flops(),
        "weights": _bytes([*generator.parameters(), *generator.buffers()]),
        "gradients": _bytes([each.grad for each in generator.parameters() if each.grad is not None]),
        "optimizer": _bytes([each for one in optimizer.state.values() for each in one.values()]),
        "saved": saved_total,
    }


def planned_and_measured(recipe: Recipe, precision: Precision) -> list[tuple[str, Figures, Figures]]:
    """(mode, planned, measured) of each member of a recipe, on one device."""
    results = []
    for mode, *_ in members(recipe.whole()[1]):
        member = recipe.of_member(mode, ROWS)
        estimate = plan(member, Setup(1, 1.0, precision=precision))
        memory = estimate.memory
        planned = {
            "flops": estimate.dense_flops * ROWS * recipe.spec.length,
            "weights": memory.weights,
            "gradients": memory.gradients,
            "optimizer": memory.optimizer,
            "saved": memory.activations + memory.casts,
        }
        results.append((mode, planned, measure(*member.whole(), precision)))
    return results


def compare(recipe: Recipe, precision: Precision = "32-true") -> Table:
    """What a plan for one device says of each member of a recipe, and what is measured."""
    table = Table(title=f"planned, and measured here, {ROWS} samples at once", title_justify="left", title_style="bold")
    for name in ("", "planned", "measured", "ratio"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for mode, planned, measured in planned_and_measured(recipe, precision):
        for name, value in planned.items():
            actual = measured[name]
            table.add_row(f"{mode} {name}", f"{value:,.0f}", f"{actual:,.0f}", f"{value / actual:.4f}")
    return table


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def _forward(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    rows, heads, queries, width = query
    return 4 * rows * heads * queries * key[-2] * width


def _backward(grad: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    return 2 * _forward(query, key, value)


# The counter does not know the kernels of a CPU.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}
