"""Cached autoregressive sampling, against the cached sampling of transformers and x-transformers."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import grid_layout
from mmgen.core.tokens import TokenSpec
from mmgen.model.backbone import compile_passes
from mmgen.model.backbone.block import Block
from mmgen.model.backbone.cpu.products import Product
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms import Autoregressive, Request
from mmgen.paradigms.base import SampleOptions
from mmgen.paradigms.decoding import Decoding
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.llama import llama_like, transformers_llama, x_transformer
from mmgen.tools.bench.models import count_parameters
from mmgen.tools.bench.timing import stopwatch_for

GOALS = {"x-transformers": 2.5, "transformers": 1.8, "limit": 0.85}
LIMIT = "products and attention alone"


@register("decode", "tokens a second of cached autoregressive sampling, at batch 8 and 1", needs=tuple(GOALS)[:2])
@torch.no_grad()
def decode(conditions: Conditions) -> Iterator[Result]:
    """8 blocks of width 384, 256 tokens of 1024 values, the same weights on all sides."""
    length, size = conditions.size(256, 6), conditions.size(1024, 32)
    ours = llama_like(TokenSpec("categorical", size, (length, 1, 1)), conditions.shape, conditions.device)
    llama, wrapper = transformers_llama(ours), x_transformer(ours)
    check(ours, lambda tokens: llama(tokens).logits, "transformers")
    check(ours, wrapper.net, "x-transformers")
    compiled = conditions.device.type == "cuda"
    if compiled:
        compile_passes(ours.backbone)
    flops_rate, byte_rate = best_rates(conditions)
    for batch in (8, 1):
        start = torch.zeros(batch, 1, dtype=torch.int64, device=conditions.device)
        hugging = partial(
            llama.generate, start, attention_mask=torch.ones_like(start), max_new_tokens=length, do_sample=True, top_k=0
        )
        contenders: dict[str, Callable[[], object]] = {
            "ours": partial(sampled, ours, batch),
            "x-transformers": partial(wrapper.generate, start, length, filter_logits_fn=torch.positive),
            "transformers, dynamic cache": partial(hugging, cache_implementation="dynamic"),
            "transformers, static cache": partial(hugging, cache_implementation="static"),
            LIMIT: products_and_attention(ours, batch),
        }
        measured = conditions.compare(contenders)
        better = min((name for name in contenders if name.startswith("transformers")), key=measured.median)
        seconds, (flops, read) = measured.median("ours"), required_work(ours, batch)
        more = {"ms_a_step": 1e3 * seconds / length, "parameters": count_parameters(ours)}
        more |= {"mfu": flops / seconds / flops_rate, "bandwidth_share": read / seconds / byte_rate}
        for name, peer in {"x-transformers": "x-transformers", "transformers": better, "limit": LIMIT}.items():
            yield conditions.result(
                f"decode/{batch}/{name}", measured, peer, work=batch * length, unit="tokens/s", goal=GOALS[name],
                limit=LIMIT, package=None if name == "limit" else name, more=more, shape=conditions.shape, batch=batch,
                tokens=length, values=size, compiled=compiled,
            )  # fmt: skip


def sampled(ours: Generator, batch: int, temperature: float = 1.0) -> Tensor:
    """(batch, length) tokens."""
    request = Request(Draws(0, torch.arange(batch, device=ours.device)))
    options = SampleOptions(decoding=Decoding(temperature=temperature))
    *_, last = Autoregressive().sample(ours, request, options)
    return last.tokens


def check(ours: Generator, peer: Callable[[Tensor], Tensor], name: str) -> None:
    """Both compute the same logits of a row, and our cached sampling takes the most probable token of a whole pass."""
    length = ours.spec.length
    tokens = torch.randint(ours.spec.size, (2, length), generator=torch.Generator().manual_seed(0)).to(ours.device)
    paradigm, condition = Autoregressive(), ours.conditions(rows=2)
    row = grid_layout((length, 1, 1)).to(ours.device)
    logits = ours.head.predict(ours(tokens, row, paradigm.mask, condition))[:, :, 0]
    torch.testing.assert_close(logits, peer(tokens), rtol=1e-3, atol=1e-3, msg=lambda text: f"{name}: {text}")
    greedy = sampled(ours, 2, temperature=0.0)
    whole = paradigm.row(ours, ours.spec.grid, ours.device).slice(0, length)
    expected = ours.head.predict(ours(greedy[:, :-1], whole, paradigm.mask, condition))[:, :, 0]
    taken = expected.gather(-1, greedy[..., None])[..., 0]
    assert (taken >= expected.amax(-1) - 1e-3).all(), "cached sampling takes other tokens than a whole pass would"


def best_rates(conditions: Conditions) -> tuple[float, float]:
    """What the machine can do in float32: operations a second of a large matrix product, a multiply-add being two, and
    bytes a second that a copy of a large tensor reads and writes. The best of a few tries.
    """
    device, large = conditions.device, conditions.device.type == "cuda"
    side, count = conditions.size(8192 if large else 1024, 64), conditions.size(2**28 if large else 2**25, 2**16)
    a, b, product = (torch.ones(side, side, device=device) for _ in range(3))
    source, target = (torch.ones(count, device=device) for _ in range(2))
    watch, least = stopwatch_for(device), [math.inf, math.inf]
    for _ in range(conditions.size(6, 2)):
        calls = (lambda: torch.mm(a, b, out=product), lambda: target.copy_(source))
        least = [min(best, watch(call, 1).seconds) for best, call in zip(least, calls)]
    return 2 * side**3 / least[0], 8 * count / least[1]


def required_work(ours: Generator, batch: int) -> tuple[float, float]:
    """Floating-point operations of all steps, and the bytes that they read: weights, keys and values."""
    matrices = (*ours.backbone.parameters(), require_choices(ours.head, "bench").project.weight)
    weights = sum(p.numel() for p in matrices if p.dim() == 2)
    cached = ours.backbone.depth * ours.backbone.dim * ours.spec.length * (ours.spec.length + 1)  # keys and values
    flops = 2 * batch * (ours.spec.length * weights + cached)
    return float(flops), 4.0 * (ours.spec.length * weights + batch * cached)


def products_and_attention(ours: Generator, batch: int) -> Callable[[], object]:
    """The matrix products and the attention of all steps, and nothing else."""
    backbone, device = ours.backbone, ours.device
    blocks = [cast(Block, block) for block in backbone.blocks]
    linears = [each for b in blocks for each in (b.mixer.qkv, b.mixer.out, b.mlp.up, b.mlp.down)]
    products = [
        (
            Product(each.weight.detach()),
            torch.randn(batch, each.in_features).to(device),
            torch.empty(batch, each.out_features).to(device),
        )
        for each in (*linears, require_choices(ours.head, "bench").project)
    ]
    shape = batch, backbone.kv_heads, ours.spec.length, backbone.head_dim
    keys = torch.randn(backbone.depth, 2, *shape, device=device)
    q = torch.randn(batch, backbone.heads, 1, backbone.head_dim, device=device)
    for product, x, out in products:
        product(x, out)

    def run() -> None:
        for length in range(1, ours.spec.length + 1):
            for product, x, out in products:
                product(x, out)
            for k, v in keys[..., :length, :].unbind():
                F.scaled_dot_product_attention(q, k, v)

    return run
