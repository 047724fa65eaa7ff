"""Bytes of one device, by part."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.core.layout import prefix
from mmgen.model.backbone.attention import Attend
from mmgen.model.backbone.block import Block
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.transformer import Transformer
from mmgen.model.heads.chunked import AT_ONCE
from mmgen.tools.plan.devices import Precision
from mmgen.tools.plan.rehearsal import Pass, Rehearsal, kept_logits
from mmgen.tools.plan.saved import saved_bytes

Strategy = Literal["ddp", "fsdp"]

_POSITIONS = 16  # of a block's rehearsal; what it keeps grows with them in a straight line


@dataclass(frozen=True)
class Tensors:
    """Parameters of one shape.

    Args:
        shape: of one.
        count: how many there are.
        block: whether they stand in a block, of which a sharded run gathers one at a time.
        matrix: whether they are the weight of a linear map or a convolution.
        trainable: whether they are trained.
    """

    shape: tuple[int, ...]
    count: int
    block: bool
    matrix: bool
    trainable: bool = True

    @property
    def numel(self) -> int:
        """Of all of them."""
        return math.prod(self.shape) * self.count

    def local(self, shards: int) -> int:
        """Numbers that the first of so many devices holds, by rows, as FSDP2 cuts them."""
        if shards == 1 or not self.shape:
            return self.numel
        return math.ceil(self.shape[0] / shards) * math.prod(self.shape[1:]) * self.count


def tensors(module: nn.Module, depths: dict[Transformer, int]) -> list[Tensors]:
    """Of a module whose stacks have one block each, as if they had these depths."""
    within = {id(each): depth for stack, depth in depths.items() for each in stack.blocks.parameters()}
    maps = [each for each in module.modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd)]
    matrices = {id(each.weight) for each in maps}
    return [
        Tensors(
            tuple(each.shape), within.get(id(each), 1), id(each) in within, id(each) in matrices, each.requires_grad
        )
        for each in module.parameters()
    ]


@dataclass(frozen=True)
class Kept:
    """What a block keeps for the backward pass.

    Args:
        position: bytes a position.
        fixed: bytes however many there are: its matrices in bfloat16, where they are cast.
        stream: bytes of its input, a position; all that is kept when activations are recomputed.
    """

    position: float
    fixed: float
    stream: float


def kept_by_block(one: Pass, precision: Precision) -> Kept:
    """Found by running a block on few positions, in the precision of training."""
    block = one.transformer.blocks[0]
    assert isinstance(block, Block)
    each = one.conditions > one.rows  # a modulation of each position
    short, long = (_run(one, block, n, each, precision) for n in (_POSITIONS, 2 * _POSITIONS))
    position = (long - short) / _POSITIONS
    stream = one.transformer.dim * (2 if precision == "bf16-true" else one.dtype.itemsize)
    return Kept(position, max(0.0, short - _POSITIONS * position), stream)


def _run(one: Pass, block: Block, positions: int, each: bool, precision: Precision) -> int:
    dim, dtype = one.transformer.dim, torch.bfloat16 if precision == "bf16-true" else one.dtype
    x = torch.zeros(1, positions, dim, dtype=dtype, requires_grad=True)
    cond = None
    if one.conditions and block.adaln is not None:
        width = dim if one.transformer.condition is None else 6 * dim
        cond = torch.zeros(1, positions if each else 1, width, dtype=dtype, requires_grad=True)
    modulated = torch.ones(1, positions, dtype=torch.bool) if one.partly else None
    rotary = one.transformer.rotary
    row = prefix(positions)
    tables = None if rotary is None else rotary.tables(row, dtype)
    weights: dict[str, Tensor] = dict(block.named_parameters())
    if precision == "bf16-true":
        weights = {name: each.detach().to(dtype).requires_grad_() for name, each in weights.items()}
    call = partial(torch.func.functional_call, block, weights)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"), saved_bytes(block) as saved:
        saved.known |= {weight.untyped_storage().data_ptr() for weight in weights.values()}
        shared = [*(tables or ()), *([] if cond is None else [cond])]  # of all blocks
        saved.known |= {each.untyped_storage().data_ptr() for each in shared}
        out: Tensor = call((x, Context(Attend(), row, tables, cond, modulated)))
        total = saved.total
    del out
    return total


@dataclass(frozen=True)
class Memory:
    """Bytes of the fullest device, at the fullest moment of a step.

    Args:
        weights: parameters and buffers.
        gradients: of the trained ones.
        optimizer: the moments of AdamW, and its count of steps for each tensor.
        average: EMA; 0 where a run keeps none.
        buckets: a second copy of the gradients, in which DDP sums them over devices.
        gathered: whole weights and gradients of what a sharded run works on at the moment.
        casts: bfloat16 copies of matrices, kept from the forward pass to the backward pass.
        activations: what else is kept for the backward pass, log-probabilities included.
        logits: a copy of what is predicted, or its gradient, for a moment.
    """

    weights: float
    gradients: float
    optimizer: float
    average: float
    buckets: float
    gathered: float
    casts: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All."""
        return float(sum(vars(self).values()))


def state_bytes(held: list[Tensors], buffers: int, precision: Precision, shards: int, average: bool) -> dict[str, int]:
    """Bytes of weights, gradients, optimiser and average: exactly those that a device's tensors have."""
    width = 2 if precision == "bf16-true" else 4
    numbers = sum(each.local(shards) for each in held)
    trained = sum(each.local(shards) for each in held if each.trainable)
    steps = sum(4 * each.count for each in held if each.trainable)
    return {
        "weights": width * numbers + buffers,
        "gradients": width * trained,
        "optimizer": 2 * width * trained + steps,
        "average": (width * numbers + (buffers if shards == 1 else 0)) * average,
    }


def moving_bytes(held: list[Tensors], precision: Precision, strategy: Strategy, gpus: int) -> dict[str, float]:
    """Bytes of buckets, of what is gathered, and of casts."""
    width = 2 if precision == "bf16-true" else 4
    mixed = precision == "bf16-mixed"
    blocks = sum(each.numel for each in held if each.block)
    depth = max((each.count for each in held if each.block), default=1)
    rest = sum(each.numel for each in held if not each.block)
    casts = 2 * sum(each.numel for each in held if each.matrix and not (each.block and strategy == "fsdp"))
    if strategy == "ddp":
        buckets = width * (blocks + rest) if gpus > 1 else 0
        return {"buckets": buckets, "gathered": 0, "casts": casts * mixed}
    # All that is in no block stays whole through a step; of blocks one is worked on, one is fetched ahead.
    block = blocks / depth
    gathered = 2 * width * rest + 2 * block * (2 if mixed else width) + block * width
    return {"buckets": 0, "gathered": gathered, "casts": casts * mixed}


def activation_bytes(
    passes: list[tuple[Pass, Kept, int]], rest: Rehearsal, more: Rehearsal, rows: float, mixed: bool, recompute: bool
) -> dict[str, float]:
    """Bytes of activations and logits of so many rows.

    Args:
        passes: what the stacks are given in `rest`, what their blocks keep, and how deep they are.
        rest: a rehearsal.
        more: another of more samples, so that what does not grow with them is told apart.
        rows: samples that a device trains on at once.
        mixed: bfloat16 by autocast.
        recompute: blocks keep their input alone.
    """
    scale = rows / rest.rows
    blocks = 0.0
    for one, kept, depth in passes:
        positions = one.rows * one.positions * scale
        if one.graded and recompute:
            blocks += positions * (depth * kept.stream + kept.position)
        elif one.graded:
            blocks += positions * depth * kept.position
    ends, logits = (more.kept - rest.kept) / (more.rows - rest.rows) * rows, rest.logits * scale
    # Beside log-probabilities in float32, a copy of them or their gradient comes and goes.
    moment = logits * (6 if mixed else 4) if kept_logits(logits) else 8 * min(logits, AT_ONCE)
    return {"activations": blocks + max(0.0, ends) + kept_logits(logits), "logits": moment}
