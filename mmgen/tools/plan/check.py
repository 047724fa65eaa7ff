"""A plan beside what this machine measures: the whole model, forward and backward, one step of its optimiser."""

from dataclasses import dataclass

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from mmgen.core.draws import Draws
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm
from mmgen.tools.plan.devices import Precision
from mmgen.tools.plan.estimate import Wish, plan
from mmgen.tools.plan.recipe import Recipe
from mmgen.tools.plan.rehearsal import members, random_condition, random_tokens
from mmgen.tools.plan.saved import saved_bytes

ROWS = 4


@dataclass(frozen=True)
class Measured:
    """Of one member of a recipe, on some rows.

    Args:
        flops: forward and backward.
        weights: bytes of parameters and buffers.
        gradients: bytes.
        optimizer: bytes of AdamW's state.
        kept: bytes that autograd kept.
    """

    flops: float
    weights: int
    gradients: int
    optimizer: int
    kept: int


def measure(generator: Generator, paradigm: Paradigm, rows: int = ROWS, precision: Precision = "32-true") -> Measured:
    """Train one step on random tokens, on the CPU."""
    dtype = torch.bfloat16 if precision == "bf16-true" else torch.float32
    generator = generator.to(dtype)
    tokens, draws = random_tokens(generator.spec, rows), Draws(0, torch.arange(rows))
    optimizer = torch.optim.AdamW(generator.parameters())
    counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
    with counter, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        with saved_bytes(generator) as saved:
            losses = paradigm.losses(generator, tokens, random_condition(generator, rows), draws)
            loss = torch.cat(list(losses.values())).mean()
            kept = saved.total
            saved.kept.clear()
        loss.backward()
    optimizer.step()
    state = [each for one in optimizer.state.values() for each in one.values()]
    return Measured(
        flops=counter.get_total_flops(),
        weights=_bytes([*generator.parameters(), *generator.buffers()]),
        gradients=_bytes([each.grad for each in generator.parameters() if each.grad is not None]),
        optimizer=_bytes(state),
        kept=kept,
    )


def compare(recipe: Recipe, precision: Precision = "32-true") -> Table:
    """What a plan for one device says of each member of a recipe, and what is measured."""
    table = Table(title=f"said and measured here, {ROWS} samples at once", title_justify="left", title_style="bold")
    for name in ("", "said", "measured", "ratio"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for mode, said, seen in both(recipe, precision):
        for name, planned, measured in rows_of(said, seen):
            table.add_row(f"{mode} {name}", f"{planned:,.0f}", f"{measured:,.0f}", f"{planned / measured:.4f}")
    return table


def both(recipe: Recipe, precision: Precision) -> list[tuple[str, Measured, Measured]]:
    """(mode, what is said, what is measured) of each member of a recipe."""
    found = []
    for mode, *_ in members(recipe.whole()[1]):
        alone = recipe.of_member(mode, ROWS)
        made = plan(alone, Wish(1, 1.0, precision=precision))
        memory = made.memory
        said = Measured(
            made.dense_flops * ROWS * recipe.spec.length,
            int(memory.weights),
            int(memory.gradients),
            int(memory.optimizer),
            int(memory.activations + memory.casts),
        )
        generator, paradigm = alone.whole()
        found.append((mode, said, measure(generator, paradigm, ROWS, precision)))
    return found


def rows_of(said: Measured, seen: Measured) -> list[tuple[str, float, float]]:
    """(name, said, measured)."""
    return [(name, value, getattr(seen, name)) for name, value in vars(said).items()]


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
