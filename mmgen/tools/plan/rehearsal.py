"""One loss of a paradigm without the blocks of its transformers: the inputs of the blocks, and the cost of the rest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.model.heads import ChoiceHead
from mmgen.model.heads.choices import MANY
from mmgen.paradigms import Mixture, Paradigm

ROWS = 2  # of a rehearsal: paradigms whose rows differ in length are averaged over them


@dataclass(frozen=True)
class Pass:
    """A call of one stack of blocks.

    Args:
        transformer: which.
        rows: B.
        positions: N.
        conditions: modulation vectors: B, or B * N.
        visible: share of the pairs of a query and a key that the mask shows.
        graded: whether a backward pass follows.
        dtype: of the stream between blocks.
        partly: whether some positions are modulated and some are not.
    """

    transformer: Transformer
    rows: int
    positions: int
    conditions: int
    visible: float
    graded: bool
    dtype: torch.dtype
    partly: bool = False


@dataclass
class Rehearsal:
    """Of `rows` samples, all together.

    Args:
        rows: samples.
        passes: of stacks of blocks.
        flops: of all else, forward and backward; the latter counts as twice the former.
        saved: bytes that all else keeps for the backward pass, logits included.
        logits: numbers that the head returns.
    """

    rows: int
    passes: list[Pass] = field(default_factory=list)
    flops: float = 0.0
    saved: float = 0.0
    logits: int = 0

    @property
    def besides_logits(self) -> float:
        """Of `saved`, without log-probabilities."""
        return self.saved - logits_bytes(self.logits)


def logits_bytes(count: float) -> float:
    """Bytes of the log-probabilities that are kept for a backward pass: of many, none, as they are made again."""
    return 0.0 if count >= MANY else 4 * count


def members(paradigm: Paradigm) -> list[tuple[str, Paradigm, float]]:
    """(mode, paradigm, share of the samples) of all that is trained."""
    if not isinstance(paradigm, Mixture):
        return [(paradigm.mode, paradigm, 1.0)]
    bounds = [0.0, *paradigm.bounds, 1.0]
    return [(name, each, b - a) for (name, each), a, b in zip(paradigm.members.items(), bounds, bounds[1:])]


def rehearse(generator: Generator, paradigm: Paradigm, rows: int = ROWS, autocast: bool = False) -> Rehearsal:
    """Run a loss on random tokens, without the blocks.

    Args:
        generator: of one block, on the CPU.
        paradigm: not a mixture, but a member of one.
        rows: samples.
        autocast: in bfloat16 where `bf16-mixed` takes it.
    """
    rehearsal, tokens = Rehearsal(rows), random_tokens(generator.spec, rows)
    counter = FlopCounterMode(display=False)
    with (
        _without_blocks(generator, rehearsal),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        counter,
        saved_bytes(generator) as saved,
    ):
        losses = paradigm.losses(generator, tokens, random_condition(generator, rows), Draws(0, torch.arange(rows)))
        rehearsal.saved = saved.total
    del losses
    rehearsal.flops += 3.0 * counter.get_total_flops()
    return rehearsal


def random_tokens(spec: TokenSpec, rows: int) -> Tokens:
    """Full rows of noise."""
    source = torch.Generator().manual_seed(0)
    if spec.kind == "continuous":
        return Tokens(torch.randn(rows, spec.length, spec.size, generator=source), spec.grid)
    shape = (rows, spec.length, spec.levels) if spec.kind == "residual" else (rows, spec.length)
    lengths = torch.full((rows,), spec.length) if spec.fills_end else None
    return Tokens(torch.randint(spec.alphabet, shape, generator=source), spec.grid, lengths)


def random_condition(generator: Generator, rows: int) -> Any:
    """Values that are not null, for all rows."""
    values = {name: torch.zeros_like(each.null(rows)) for name, each in generator.conditions.items()}
    return generator.conditions(values, rows)


@dataclass
class Saved:
    """Tensors that autograd keeps, by the address of their storage, without those in `known`."""

    known: set[int]
    tensors: dict[int, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(each.untyped_storage().nbytes() for each in self.tensors.values())

    def keep(self, tensor: Tensor) -> Tensor:
        """A hook of `saved_tensors_hooks`. Holding the tensor keeps its address from being used again."""
        address = tensor.untyped_storage().data_ptr()
        if address not in self.known:
            self.tensors.setdefault(address, tensor)
        return tensor


@contextmanager
def saved_bytes(module: nn.Module) -> Iterator[Saved]:
    """Count what autograd keeps in this context besides the module's own parameters and buffers."""
    saved = Saved({each.untyped_storage().data_ptr() for each in (*module.parameters(), *module.buffers())})
    with torch.autograd.graph.saved_tensors_hooks(saved.keep, lambda tensor: tensor):
        yield saved


@contextmanager
def _without_blocks(generator: Generator, rehearsal: Rehearsal) -> Iterator[None]:
    stacks = [each for each in generator.modules() if isinstance(each, Transformer)]
    ids = {id(each) for each in generator.modules()}
    of_head = {id(each) for each in generator.head.modules()}

    def record(
        transformer: Transformer,
        x: Tensor,
        layout: Layout,
        mask: Mask,
        cond: Tensor | None = None,
        modulated: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        visible = float(mask.dense(layout, layout).double().mean())
        conditions, graded = 0 if cond is None else cond.shape[:-1].numel(), torch.is_grad_enabled()
        size = len(x), x.shape[1], conditions
        rehearsal.passes.append(Pass(transformer, *size, visible, graded, x.dtype, modulated is not None))
        return x

    def linear_forward(linear: nn.Linear, x: Tensor) -> Tensor:
        out = plain_forward(linear, x)
        if id(linear) not in ids:
            return out
        forward = 2 * out.shape[:-1].numel() * linear.weight.numel()
        if not torch.is_grad_enabled():
            rehearsal.flops -= 2 * forward  # no backward pass
        elif not x.requires_grad:
            rehearsal.flops -= forward  # none to what is before it
        if torch.is_grad_enabled() and id(linear) in of_head:
            rehearsal.logits += out.numel()
        return out

    def nats_by_group(nats: Callable[..., Tensor], head: ChoiceHead, *arguments: Tensor) -> Tensor:
        before, out = rehearsal.logits, nats(*arguments)
        if rehearsal.logits == before and torch.is_grad_enabled():  # its map was not called as a module
            rehearsal.logits += out.numel() * head.choices
        return out

    head = generator.head
    if isinstance(head, ChoiceHead):
        head.nats_by_group = partial(nats_by_group, head.nats_by_group, head)  # type: ignore[method-assign]
    # Not by hooks on the modules: a hooked map is called where a plain one's weights are read, and costs more.
    plain_forward = nn.Linear.forward
    nn.Linear.forward = linear_forward  # type: ignore[assignment]
    for each in stacks:
        each.forward = partial(record, each)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for each in stacks:
            del each.forward
        if isinstance(head, ChoiceHead):
            del head.nats_by_group
        nn.Linear.forward = plain_forward  # type: ignore[method-assign]
