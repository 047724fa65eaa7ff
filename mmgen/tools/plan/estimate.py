"""The plan of a run: all figures, from a recipe and a wish."""

from dataclasses import asdict, dataclass, field
from typing import Any

from mmgen.data.stream import Split
from mmgen.model.backbone.transformer import Transformer
from mmgen.model.generator import Generator
from mmgen.tools.plan.devices import Precision, device
from mmgen.tools.plan.flops import Flops, of_pass
from mmgen.tools.plan.memory import (
    Memory,
    Strategy,
    Tensors,
    activation_bytes,
    kept_by_block,
    moving_bytes,
    state_bytes,
    tensors,
)
from mmgen.tools.plan.recipe import Recipe
from mmgen.tools.plan.rehearsal import ROWS, members, rehearse

_DAY = 86400.0


@dataclass(frozen=True)
class Wish:
    """What a run shall have.

    Args:
        gpus: devices.
        tokens: to train on; None for what the recipe's steps take.
        mfu: share of a device's best rate that is reached, in (0, 1].
        device: a name of `mmgen.tools.plan.devices.DEVICES`.
        precision: bf16-mixed, bf16-true or 32-true.
        strategy: ddp, a whole model a device, or fsdp, a share of it.
        accumulate: batches behind one step.
    """

    gpus: int
    tokens: float | None = None
    mfu: float = 0.4
    device: str = "h100"
    precision: Precision = "bf16-mixed"
    strategy: Strategy = "ddp"
    accumulate: int = 1


@dataclass(frozen=True)
class Plan:
    """What it will take.

    Args:
        wish: what was asked.
        recipe: its file.
        tokens: the tokens of a sample, in words.
        split: how the global batch is divided, in words.
        parameters: numbers by part.
        trainable: numbers that are trained.
        positions: of a row that the backbone sees, for each token of the sample.
        linear_flops: per token, forward and backward, of maps.
        attention_flops: of all pairs of positions.
        visible_flops: of those pairs that the masks show.
        rest_flops: of embeddings, conditioning and head.
        visible: share of pairs that the masks show.
        memory: bytes of the fullest device.
        capacity: bytes that it has.
        tokens_per_second: of all devices, at the wished MFU, all pairs counted.
        steps: optimiser steps.
        total_tokens: of the run.
        days: of the run.
        notes: what was assumed.
    """

    wish: Wish
    recipe: str
    tokens: str
    split: str
    parameters: dict[str, int]
    trainable: int
    positions: float
    linear_flops: float
    attention_flops: float
    visible_flops: float
    rest_flops: float
    visible: float
    memory: Memory
    capacity: float
    tokens_per_second: float
    steps: float
    total_tokens: float
    days: float
    notes: list[str] = field(default_factory=list)

    @property
    def dense_flops(self) -> float:
        """Per token, all pairs of positions counted."""
        return self.linear_flops + self.attention_flops + self.rest_flops

    @property
    def sparse_flops(self) -> float:
        """Per token, visible pairs counted."""
        return self.linear_flops + self.visible_flops + self.rest_flops

    @property
    def fits(self) -> bool:
        """Whether the memory suffices, with a tenth left for fragments and the library's own buffers."""
        return self.memory.total <= 0.9 * self.capacity

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        derived = {"dense_flops": self.dense_flops, "sparse_flops": self.sparse_flops, "fits": self.fits}
        return asdict(self) | derived | {"memory": asdict(self.memory) | {"total": self.memory.total}}


def plan(recipe: Recipe, wish: Wish) -> Plan:
    """Plan a run.

    Raises:
        UserError: an unknown device, or a global batch that does not divide.
    """
    model, paradigm = recipe.shallow()
    chosen, spec, notes = device(wish.device), recipe.spec, list(recipe.notes)
    depths = _depths(model, recipe)
    held = tensors(model, depths)
    split = Split(int(recipe.setting("data", "init_args", "global_batch_size", default=64)), wish.gpus, wish.accumulate)

    mixed, recompute = wish.precision == "bf16-mixed", model.backbone.checkpointing
    flops, rest_flops, rows_positions, active = Flops(), 0.0, 0.0, {"activations": 0.0, "logits": 0.0}
    for _, member, share in members(paradigm):
        rest, more = (rehearse(model, member, rows, mixed) for rows in (ROWS, 2 * ROWS))
        passes = [(one, kept_by_block(one, wish.precision), depths[one.transformer]) for one in rest.passes]
        each = share / (rest.rows * spec.length)
        for one, _, depth in passes:
            flops += of_pass(one, depth) * each
        rest_flops += rest.flops * each
        rows_positions += share * sum(one.rows * one.positions for one in rest.passes if one.graded) / rest.rows
        found = activation_bytes(passes, rest, more, share * split.per_device, mixed, recompute)
        active = {name: active[name] + found[name] for name in active}
    if len(members(paradigm)) > 1:
        notes.append(
            "samples fall to the members of a mixture by chance: a batch may need more than the mean of memory"
        )

    average = bool(recipe.setting("ema", "decay", default=0.0))
    shards = wish.gpus if wish.strategy == "fsdp" else 1
    buffers = sum(each.numel() * each.element_size() for each in model.buffers())
    memory = Memory(
        **state_bytes(held, buffers, wish.precision, shards, average),
        **moving_bytes(held, wish.precision, wish.strategy, wish.gpus),
        **active,
    )
    rate = wish.gpus * chosen.peak(wish.precision) * wish.mfu / (flops.dense + rest_flops)
    per_step = split.size * spec.length
    steps = recipe.setting("trainer", "max_steps", default=0) if wish.tokens is None else wish.tokens / per_step
    return Plan(
        wish=wish,
        recipe=str(recipe.path),
        tokens=f"{spec.length} {spec.kind} tokens a sample, grid {'x'.join(map(str, spec.grid))}, {spec.amount}",
        split=str(split),
        parameters=_by_part(model, depths),
        trainable=sum(each.numel for each in held if each.trainable),
        positions=rows_positions / spec.length,
        linear_flops=flops.linear,
        attention_flops=flops.attention,
        visible_flops=flops.visible,
        rest_flops=rest_flops,
        visible=flops.visible / flops.attention if flops.attention else 1.0,
        memory=memory,
        capacity=chosen.memory,
        tokens_per_second=rate,
        steps=float(steps),
        total_tokens=float(steps * per_step),
        days=float(steps * per_step) / rate / _DAY,
        notes=notes,
    )


def _depths(model: Generator, recipe: Recipe) -> dict[Transformer, int]:
    stacks = [each for each in model.modules() if isinstance(each, Transformer)]
    return {each: recipe.depth if each is model.backbone else recipe.level_depth for each in stacks}


def _by_part(model: Generator, depths: dict[Transformer, int]) -> dict[str, int]:
    parts = {name: tensors(module, depths) for name, module in model.named_children()}
    counts = {name: sum(each.numel for each in held) for name, held in parts.items()}
    return {name: count for name, count in counts.items() if count}


__all__ = ["Plan", "Tensors", "Wish", "plan"]
