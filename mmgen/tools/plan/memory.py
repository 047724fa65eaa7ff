"""Bytes of one device, by part."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from mmgen.core.layout import prefix
from mmgen.model.backbone.attention import Attend
from mmgen.model.backbone.block import Block
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.transformer import Transformer
from mmgen.model.heads.chunked import AT_ONCE
from mmgen.tools.plan.rehearsal import Pass, Rehearsal, logits_bytes, saved_bytes
from mmgen.tools.plan.setup import Precision, Strategy

_POSITIONS = 16  # of a block's rehearsal; what it keeps grows linearly with them


@dataclass(frozen=True)
class Tensors:
    """Parameters of one shape.

    Args:
        shape: of one.
        count: how many there are.
        block: whether they are in a block; a sharded run gathers one block at a time.
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
        Tensors(tuple(p.shape), within.get(id(p), 1), id(p) in within, id(p) in matrices, p.requires_grad)
        for p in module.parameters()
    ]


def saved_by_position(one: Pass, precision: Precision) -> float:
    """Bytes a position that a block keeps for the backward pass, measured on few positions in training's precision."""
    short, long = (_saved_by_block(one, positions, precision) for positions in (_POSITIONS, 2 * _POSITIONS))
    return (long - short) / _POSITIONS


def _saved_by_block(one: Pass, positions: int, precision: Precision) -> int:
    block = one.transformer.blocks[0]
    assert isinstance(block, Block)
    dim, dtype = one.transformer.dim, torch.bfloat16 if precision == "bf16-true" else one.dtype
    x = torch.zeros(1, positions, dim, dtype=dtype, requires_grad=True)
    cond = None
    if one.conditions and block.adaln is not None:
        width = dim if one.transformer.condition is None else 6 * dim
        modulations = positions if one.conditions > one.rows else 1
        cond = torch.zeros(1, modulations, width, dtype=dtype, requires_grad=True)
    modulated = torch.ones(1, positions, dtype=torch.bool) if one.partly else None
    row, rotary = prefix(positions), one.transformer.rotary
    tables = None if rotary is None else rotary.tables(row, dtype)
    weights: dict[str, Tensor] = dict(block.named_parameters())
    if precision == "bf16-true":
        weights = {name: each.detach().to(dtype).requires_grad_() for name, each in weights.items()}
    call = partial(torch.func.functional_call, block, weights)
    shared = [*(tables or ()), *([] if cond is None else [cond])]  # of all blocks
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"), saved_bytes(block) as saved:
        saved.known |= {each.untyped_storage().data_ptr() for each in (*weights.values(), *shared)}
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


def state_bytes(parts: list[Tensors], buffers: int, precision: Precision, shards: int, average: bool) -> dict[str, int]:
    """Exact bytes of weights, gradients, optimiser and average on one device."""
    width = 2 if precision == "bf16-true" else 4
    numbers = sum(each.local(shards) for each in parts)
    trained = sum(each.local(shards) for each in parts if each.trainable)
    steps = sum(4 * each.count for each in parts if each.trainable)
    return {
        "weights": width * numbers + buffers,
        "gradients": width * trained,
        "optimizer": 2 * width * trained + steps,
        "average": (width * numbers + (buffers if shards == 1 else 0)) * average,
    }


def moving_bytes(parts: list[Tensors], precision: Precision, strategy: Strategy, gpus: int) -> dict[str, float]:
    """Bytes of buckets, of what is gathered, and of casts."""
    width, mixed = 2 if precision == "bf16-true" else 4, precision == "bf16-mixed"
    blocks = sum(each.numel for each in parts if each.block)
    rest = sum(each.numel for each in parts if not each.block)
    casts = 2 * mixed * sum(each.numel for each in parts if each.matrix and not (each.block and strategy == "fsdp"))
    if strategy == "ddp":
        return {"buckets": width * (blocks + rest) if gpus > 1 else 0, "gathered": 0, "casts": casts}
    # All that is in no block stays whole through a step; of blocks one is worked on, one is fetched ahead.
    block = blocks / max((each.count for each in parts if each.block), default=1)
    gathered = 2 * width * rest + 2 * block * (2 if mixed else width) + block * width
    return {"buckets": 0, "gathered": gathered, "casts": casts}


def activation_bytes(
    depths: dict[Transformer, int], rest: Rehearsal, more: Rehearsal, rows: float, precision: Precision, recompute: bool
) -> dict[str, float]:
    """Bytes of activations and logits of so many rows.

    Args:
        depths: of the stacks of blocks.
        rest: a rehearsal.
        more: another of more samples, to separate what does not grow with them.
        rows: samples that a device trains on at once.
        precision: of training.
        recompute: blocks keep their input alone.
    """
    scale = rows / rest.rows
    blocks = 0.0
    for one in (each for each in rest.passes if each.graded):
        position, depth = saved_by_position(one, precision), depths[one.transformer]
        stream = one.transformer.dim * (2 if precision == "bf16-true" else one.dtype.itemsize)
        each = depth * stream + position if recompute else depth * position
        blocks += one.rows * one.positions * scale * each
    ends, logits = (more.besides_logits - rest.besides_logits) / (more.rows - rest.rows) * rows, rest.logits * scale
    # Besides log-probabilities in float32, a copy of them or their gradient comes and goes.
    moment = logits * (6 if precision == "bf16-mixed" else 4) if logits_bytes(logits) else 8 * min(logits, AT_ONCE)
    return {"activations": blocks + max(0.0, ends) + logits_bytes(logits), "logits": moment}
