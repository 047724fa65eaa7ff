"""The plan of a run: all figures, from a recipe and a setup."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import nn

from mmgen.data.stream import Split
from mmgen.model.backbone.block import Block
from mmgen.model.backbone.modulation import AdaLN
from mmgen.model.backbone.transformer import Transformer
from mmgen.tools.plan.memory import Memory, activation_bytes, moving_bytes, state_bytes, tensors
from mmgen.tools.plan.recipe import Recipe
from mmgen.tools.plan.rehearsal import ROWS, Pass, members, rehearse
from mmgen.tools.plan.setup import Setup, get_device

_DAY = 86400.0


@dataclass(frozen=True)
class Plan:
    """What it will take.

    Args:
        setup: what it was planned for.
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
        tokens_per_second: of all devices, at the setup's MFU, all pairs counted.
        steps: optimiser steps.
        total_tokens: of the run.
        days: of the run.
        notes: what was assumed.
    """

    setup: Setup
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


def plan(recipe: Recipe, setup: Setup) -> Plan:
    """Plan a run.

    Raises:
        UserError: an unknown device, or a global batch that does not divide.
    """
    model, paradigm = recipe.shallow()
    device, spec, notes = get_device(setup.device), recipe.spec, list(recipe.notes)
    stacks = [each for each in model.modules() if isinstance(each, Transformer)]
    depths = {each: recipe.depth if each is model.backbone else recipe.level_depth for each in stacks}
    parts = {name: tensors(module, depths) for name, module in model.named_children()}
    counts = {name: sum(each.numel for each in part) for name, part in parts.items()}
    every = tensors(model, depths)
    batch = int(recipe.setting("data", "init_args", "global_batch_size", default=64))
    accumulate = setup.accumulate or int(recipe.setting("trainer", "accumulate_grad_batches", default=1))
    split = Split(batch, setup.gpus, accumulate)

    mixed, recompute = setup.precision == "bf16-mixed", model.backbone.checkpointing
    flops, rest_flops, positions, active = np.zeros(3), 0.0, 0.0, Counter[str]()
    for _, member, share in members(paradigm):
        rest, more = (rehearse(model, member, rows, mixed) for rows in (ROWS, 2 * ROWS))
        per_token = share / (rest.rows * spec.length)
        for one in rest.passes:
            flops += pass_flops(one, depths[one.transformer]) * per_token
        rest_flops += rest.flops * per_token
        positions += sum(one.rows * one.positions for one in rest.passes if one.graded) * per_token
        active.update(activation_bytes(depths, rest, more, share * split.per_device, setup.precision, recompute))
    if len(members(paradigm)) > 1:
        notes.append(
            "samples fall to the members of a mixture by chance: a batch may need more than the mean of memory"
        )

    average = bool(recipe.setting("ema", "decay", default=0.0))
    shards = setup.gpus if setup.strategy == "fsdp" else 1
    buffers = sum(each.numel() * each.element_size() for each in model.buffers())
    memory = Memory(
        **state_bytes(every, buffers, setup.precision, shards, average),
        **moving_bytes(every, setup.precision, setup.strategy, setup.gpus),
        activations=active["activations"],
        logits=active["logits"],
    )
    linear, attention, visible = flops.tolist()
    rate = setup.gpus * device.peak(setup.precision) * setup.mfu / (linear + attention + rest_flops)
    per_step = split.size * spec.length
    steps = recipe.setting("trainer", "max_steps", default=0) if setup.tokens is None else setup.tokens / per_step
    return Plan(
        setup=setup,
        recipe=str(recipe.path),
        tokens=f"{spec.length} {spec.kind} tokens a sample, grid {'x'.join(map(str, spec.grid))}, {spec.amount}",
        split=str(split),
        parameters={name: count for name, count in counts.items() if count},
        trainable=sum(each.numel for each in every if each.trainable),
        positions=positions,
        linear_flops=linear,
        attention_flops=attention,
        visible_flops=visible,
        rest_flops=rest_flops,
        visible=visible / attention if attention else 1.0,
        memory=memory,
        capacity=device.memory,
        tokens_per_second=rate,
        steps=float(steps),
        total_tokens=float(steps * per_step),
        days=float(steps * per_step) / rate / _DAY,
        notes=notes,
    )


def pass_flops(one: Pass, depth: int) -> np.ndarray:
    """Operations of a stack of so many blocks, forward and backward: of maps, of attention over all pairs of positions,
    and over the pairs that the mask shows.

    A multiplication with its addition counts as two, and a backward pass as twice its forward pass, recomputation not
    counted: what "model FLOPs" and MFU mean (PaLM, Chowdhery et al. 2022, appendix B).
    """
    block, times = one.transformer.blocks[0], 3 if one.graded else 1
    assert isinstance(block, Block)
    positions = one.rows * one.positions
    maps = 2 * positions * _weights([block.mixer, block.mlp]) + 2 * one.conditions * _weights([block.adaln])
    attention = 4 * positions * one.positions * one.transformer.dim * depth
    shared = 2 * one.conditions * _weights([one.transformer.condition])
    return times * np.array([shared + depth * maps, attention, attention * one.visible], dtype=float)


def _weights(modules: Iterable[nn.Module | AdaLN | None]) -> int:
    """Numbers in the matrices of linear maps."""
    inner = [each for module in modules if module is not None for each in module.modules()]
    return sum(each.weight.numel() for each in inner if isinstance(each, nn.Linear))
