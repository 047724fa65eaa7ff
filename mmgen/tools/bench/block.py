"""Blockwise masked sampling with a cache, against the same without one, and against its own passes alone."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout
from mmgen.core.tokens import TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import BlockDiffusion, Request
from mmgen.paradigms.base import SampleOptions
from mmgen.paradigms.blocks.blockwise import Context, Passes
from mmgen.paradigms.canvas import Canvas
from mmgen.paradigms.codes import Codes
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.tools.bench.benchmark import Conditions, Result, register, result
from mmgen.tools.bench.models import generator, parameters
from mmgen.tools.bench.timing import compare

CACHED = 4.0  # how many times quicker than without a cache
OWN_WORK = 1.1  # how many times the time of its passes it may take


@register("block", "block diffusion, 16 blocks of 16 tokens in 8 steps each: cached against recomputed")
@torch.no_grad()
def block(conditions: Conditions) -> Iterator[Result]:
    """256 tokens of 1024 values at batch 8, 8 blocks of width 384."""
    shape = (384, 8, 6) if not conditions.tiny else (64, 2, 2)
    side, size, steps, batch = conditions.size(16, 4), conditions.size(1024, 32), conditions.size(8, 2), 8
    ours = generator(TokenSpec("categorical", size, (1, side, side)), shape, conditions.device, {"modulation": "none"})
    paradigm = BlockDiffusion(side, steps=steps)
    exact, few = copy.deepcopy(ours).double(), asked(ours, 2, 2 * side + 1 if conditions.tiny else 4 * side)
    assert torch.equal(cached(paradigm, exact, few), recomputed(paradigm, exact, few)), "the cache changes the tokens"
    request = asked(ours, batch)
    measured = compare(
        {
            "ours": lambda: cached(paradigm, ours, request),
            "no cache": lambda: recomputed(paradigm, ours, request),
            "passes alone": passes(paradigm, ours, request),
        },
        conditions.runs,
        conditions.device,
    )
    settings = {"shape": shape, "batch": batch, "tokens": side**2, "block": side, "steps": steps, "dtype": "float32"}
    work, more = batch * side**2, {"parameters": float(parameters(ours))}
    for name, peer, goal in [("no-cache", "no cache", CACHED), ("passes", "passes alone", 1 / OWN_WORK)]:
        yield result(
            conditions, f"block/{name}", measured, peer, work=work, unit="tokens/s", goal=goal, limit="passes alone",
            settings=settings, more=more,
        )  # fmt: skip


def asked(ours: Generator, batch: int, length: int | None = None) -> Request:
    """Unconditional samples, of that many tokens; whole ones by default."""
    lengths = None if length is None else torch.full((batch,), length, device=ours.device)
    draws = Draws(0, torch.arange(batch, device=ours.device))
    return Request(draws, lengths)


def cached(paradigm: BlockDiffusion, ours: Generator, request: Request) -> Tensor:
    """(B, N) tokens."""
    *_, last = paradigm.sample(ours, request, SampleOptions())
    return last.tokens


def recomputed(paradigm: BlockDiffusion, ours: Generator, request: Request) -> Tensor:
    """The same tokens, each step by a pass over all that is finished and the block."""
    options, canvas = SampleOptions(), Canvas(ours, request)
    row, model = paradigm.row(ours, ours.spec.grid, request.draws), request.guided(ours, SampleOptions().guidance)
    for number, (begin, end) in enumerate(zip(row.bounds, row.bounds[1:])):
        here = slice(begin, min(end, canvas.length))
        if begin >= canvas.length:
            break
        layout = row.prefix + row.clean.slice(0, begin) + row.noisy.slice(begin, here.stop)
        whole, codes = _Whole(model, paradigm, canvas, begin, layout), Codes(ours, paradigm.unit, "block")
        states = codes.unmask(
            whole, canvas.tokens[:, here], canvas.committed[:, here], options.decoding,
            paradigm.sampling_schedule, min(paradigm.steps, here.stop - here.start), request.draws, f"block/{number}",
        )  # fmt: skip
        for tokens, committed in states:
            last = tokens, committed
        canvas.tokens[:, here], canvas.committed[:, here] = last
    return canvas.state(0, 0, 0).tokens


@dataclass(frozen=True, eq=False)
class _Whole:
    """Predicts a block from a pass over all that is finished before `begin` and the block."""

    model: GuidedGenerator
    paradigm: BlockDiffusion
    canvas: Canvas
    begin: int
    layout: Layout

    def __call__(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        done = self.canvas.tokens[:, : self.begin]
        hidden = torch.cat([torch.zeros_like(done, dtype=torch.bool), hidden], dim=1)
        values, progress = torch.cat([done, tokens], dim=1), self.canvas.progress()
        return self.model(values, self.layout, self.paradigm.mask, progress, hidden=hidden, outputs=tokens.shape[1])


def passes(paradigm: BlockDiffusion, ours: Generator, request: Request) -> Callable[[], object]:
    """The passes of the cached sampler and their logits, and nothing else."""
    row = paradigm.row(ours, ours.spec.grid, request.draws)

    def run() -> None:
        canvas = Canvas(ours, request)
        longest = max(end - begin for begin, end in zip(row.bounds, row.bounds[1:]))
        capacity = paradigm.window.capacity(row.prefix.length, canvas.length, longest)
        model = request.guided(ours, SampleOptions().guidance, capacity)
        run = Passes(model, paradigm, row.prefix, canvas)
        for number, (begin, end) in enumerate(zip(row.bounds, row.bounds[1:])):
            run.begin(row.noisy.slice(begin, end))
            tokens = canvas.tokens[:, begin:end]
            hidden = torch.ones_like(tokens, dtype=torch.bool)
            for _ in range(min(paradigm.steps, end - begin)):
                run.predict(tokens, hidden=hidden)
            run.finish(row.clean.slice(begin, end), Context(tokens), number)

    return run
