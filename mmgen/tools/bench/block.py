"""Blockwise masked sampling with a cache, against the same without one, and against its own passes alone."""

import copy
from collections.abc import Callable, Iterator

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
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.models import count_parameters, generator

CACHED = 4.0  # how many times quicker than without a cache
OWN_WORK = 1.1  # how many times the time of its passes it may take


@register("block", "block diffusion, 16 blocks of 16 tokens in 8 steps each: cached against recomputed")
@torch.no_grad()
def block(conditions: Conditions) -> Iterator[Result]:
    """256 tokens of 1024 values at batch 8, 8 blocks of width 384."""
    side, size, steps, batch = conditions.size(16, 4), conditions.size(1024, 32), conditions.size(8, 2), 8
    spec = TokenSpec("categorical", size, (1, side, side))
    paradigm = BlockDiffusion(side, steps=steps)
    ours = generator(paradigm, spec, conditions.shape, conditions.device, {"modulation": "none"})
    exact, few = copy.deepcopy(ours).double(), _request(ours, 2, 2 * side + 1 if conditions.tiny else 4 * side)
    assert torch.equal(cached(paradigm, exact, few), recomputed(paradigm, exact, few)), "the cache changes the tokens"
    request = _request(ours, batch)
    measured = conditions.compare(
        {
            "ours": lambda: cached(paradigm, ours, request),
            "no cache": lambda: recomputed(paradigm, ours, request),
            "passes alone": passes(paradigm, ours, request),
        }
    )
    for name, peer, goal in [("no-cache", "no cache", CACHED), ("passes", "passes alone", 1 / OWN_WORK)]:
        yield conditions.result(
            f"block/{name}", measured, peer, work=batch * side**2, unit="tokens/s", goal=goal, limit="passes alone",
            more={"parameters": count_parameters(ours)}, shape=conditions.shape, batch=batch, tokens=side**2,
            block=side, steps=steps,
        )  # fmt: skip


def _request(ours: Generator, batch: int, length: int | None = None) -> Request:
    """Unconditional samples, of that many tokens; whole ones by default."""
    lengths = None if length is None else torch.full((batch,), length, device=ours.device)
    return Request(Draws(0, torch.arange(batch, device=ours.device)), lengths)


def cached(paradigm: BlockDiffusion, ours: Generator, request: Request) -> Tensor:
    """(B, N) tokens."""
    *_, last = paradigm.sample(ours, request, SampleOptions())
    return last.tokens


def recomputed(paradigm: BlockDiffusion, ours: Generator, request: Request) -> Tensor:
    """The same tokens, each step by a pass over all that is finished and the block."""
    options, canvas = SampleOptions(), Canvas(ours, request)
    row, model = paradigm.row(ours, ours.spec.grid, request.draws), request.guided(ours, SampleOptions().guidance)
    for number, (begin, end) in enumerate(zip(row.bounds, row.bounds[1:])):
        if begin >= canvas.length:
            break
        here = slice(begin, min(end, canvas.length))
        layout = row.prefix + row.clean.slice(0, begin) + row.noisy.slice(begin, here.stop)

        def predict(tokens: Tensor, hidden: Tensor, begin: int = begin, layout: Layout = layout) -> Tensor:
            done = canvas.tokens[:, :begin]
            hidden = torch.cat([torch.zeros_like(done, dtype=torch.bool), hidden], dim=1)
            values = torch.cat([done, tokens], dim=1)
            return model(values, layout, paradigm.mask, canvas.progress(), hidden=hidden, outputs=tokens.shape[1])

        *_, last = Codes(ours, paradigm.unit, "block").unmask(
            predict, canvas.tokens[:, here], canvas.committed[:, here], options.decoding,
            paradigm.sampling_schedule, min(paradigm.steps, here.stop - here.start), request.draws, f"block/{number}",
        )  # fmt: skip
        canvas.tokens[:, here], canvas.committed[:, here] = last
    return canvas.state(0, 0, 0).tokens


def passes(paradigm: BlockDiffusion, ours: Generator, request: Request) -> Callable[[], object]:
    """The passes of the cached sampler and their logits, and nothing else."""
    row = paradigm.row(ours, ours.spec.grid, request.draws)

    def run() -> None:
        canvas = Canvas(ours, request)
        longest = max(end - begin for begin, end in zip(row.bounds, row.bounds[1:]))
        capacity = paradigm.window.capacity(row.prefix.length, canvas.length, longest)
        run = Passes(request.guided(ours, SampleOptions().guidance, capacity), paradigm, row.prefix, canvas)
        for number, (begin, end) in enumerate(zip(row.bounds, row.bounds[1:])):
            run.begin(row.noisy.slice(begin, end))
            tokens = canvas.tokens[:, begin:end]
            hidden = torch.ones_like(tokens, dtype=torch.bool)
            for _ in range(min(paradigm.steps, end - begin)):
                run.predict(tokens, hidden=hidden)
            run.finish(row.clean.slice(begin, end), Context(tokens), number)

    return run
