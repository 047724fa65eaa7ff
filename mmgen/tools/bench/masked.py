"""Masked sampling in a few steps: what the sampler itself takes, and a pass against one of muse-maskgit-pytorch."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import TokenSpec
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms import Masked, Request
from mmgen.paradigms.base import SampleOptions, row_layout
from mmgen.tools.bench.benchmark import Conditions, Result, register, result
from mmgen.tools.bench.models import generator, parameters
from mmgen.tools.bench.peers.muse import muse
from mmgen.tools.bench.timing import compare

PER_PRODUCT = 1.15  # how many times the peer's time a multiplication, of both samplers as a whole
OWN_WORK = 0.03  # share of the sampler outside the passes


@register(
    "masked",
    "8 steps of masked sampling: the sampler's own work, and the time a multiplication of muse-maskgit-pytorch's",
    needs=("muse-maskgit-pytorch",),
)
@torch.no_grad()
def masked(conditions: Conditions) -> Iterator[Result]:
    """256 tokens of 1024 values at batch 8, 8 blocks of width 384 on both sides; the peer's blocks have a second
    attention, to a text of one place here, whose products count.
    """
    shape = (384, 8, 6) if not conditions.tiny else (64, 2, 2)
    side, size, steps, batch = conditions.size(16, 4), conditions.size(1024, 32), conditions.size(8, 3), 8
    spec = TokenSpec("categorical", size, (1, side, side))
    options = {"modulation": "none", "rope": None, "mlp": "swiglu"}
    ours = generator(spec, shape, conditions.device, options, positions="learned")
    sample = sampler(ours, batch, steps)
    peer = muse(spec, shape, conditions.device)
    revealed, drawn = sample(), peer.sample(batch, steps)
    for tokens in (revealed, drawn):
        assert tokens.shape == (batch, side * side) and int(tokens.min()) >= 0 and int(tokens.max()) < size
    assert torch.equal(sample(), revealed), "the same seed must give the same tokens"
    measured = compare(
        {"ours": sample, "passes alone": passes(ours, batch, steps), "muse-maskgit": lambda: peer.sample(batch, steps)},
        conditions.runs,
        conditions.device,
    )
    settings = {"shape": shape, "batch": batch, "tokens": side * side, "values": size, "steps": steps}
    more = {"own_work_share": 1 - measured.ratio("passes alone", "ours"), "parameters": float(parameters(ours))}
    yield result(
        conditions, "masked/own-work", measured, "passes alone", goal=1 - OWN_WORK, limit="passes alone",
        settings=settings, more=more,
    )  # fmt: skip
    ours_work, peer_work = (batch * steps * each for each in (multiplications(ours), peer.multiplications()))
    plain = result(conditions, "masked/muse-maskgit", measured, "muse-maskgit", package="muse-maskgit-pytorch")
    rates = [work / measured.median(name) / 1e9 for name, work in (("ours", ours_work), ("muse-maskgit", peer_work))]
    yield Result(
        name=plain.name,
        ours=rates[0],
        peer=rates[1],
        unit="G multiply-adds/s",
        ratio=plain.ratio * ours_work / peer_work,
        goal=PER_PRODUCT,
        limit_share=measured.ratio("passes alone", "ours"),
        device=plain.device,
        settings=plain.settings | settings,
        more={"ours_ms": plain.ours, "peer_ms": plain.peer},
    )


def sampler(ours: Generator, batch: int, steps: int) -> Callable[[], Tensor]:
    """Samples (batch, N) tokens."""
    request = Request(Draws(0, torch.arange(batch, device=ours.device)))

    def sample() -> Tensor:
        *_, last = Masked(steps=steps).sample(ours, request, SampleOptions())
        return last.tokens

    return sample


def passes(ours: Generator, batch: int, steps: int) -> Callable[[], object]:
    """The passes of the sampler and the logits, as it runs them, and nothing else."""
    request = Request(Draws(0, torch.arange(batch, device=ours.device)))
    paradigm, row = Masked(), row_layout(ours.prefix, ours.spec.grid, ours.device)
    tokens = torch.zeros(batch, ours.spec.length, dtype=torch.int64, device=ours.device)
    hidden = torch.ones_like(tokens, dtype=torch.bool)

    def run() -> None:
        model = request.guided(ours, SampleOptions().guidance)
        for _ in range(steps):
            features = model.features(tokens, row, paradigm.mask, hidden=hidden, outputs=tokens.shape[1])
            ours.head.predict(features)

    return run


def multiplications(ours: Generator) -> float:
    """Multiply-adds of a pass over one row: of the linear maps, and of attention."""
    backbone, length = ours.backbone, ours.spec.length + ours.prefix_length
    linear = sum(p.numel() for block in backbone.blocks for p in block.parameters() if p.dim() == 2)
    linear -= sum(p.numel() for name, p in backbone.named_parameters() if "norm_" in name and p.dim() == 2)  # gains
    attention = 2 * backbone.depth * backbone.dim * length
    return float(
        length * (linear + attention) + ours.spec.length * require_choices(ours.head, "bench").project.weight.numel()
    )
