"""Training with a clean and a noisy copy in one row, without work on hidden blocks, against the dense mask."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from mmgen.core.layout import Layout, clean, grid_layout, noisy
from mmgen.core.mask import Mask
from mmgen.core.masks import get_mask
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.attention import Attend, realise
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.models import fill_zeros

MASK = get_mask("skip_causal")
BLOCKS = (64, 256)
HEADS, WIDTH = 6, 64


@register(
    "skip_causal_attention", "attention over a clean and a noisy copy, forward and backward, against a dense mask"
)
def skip_causal_attention(conditions: Conditions) -> Iterator[Result]:
    """2 x 2048 positions, 6 heads of 64 channels, blocks of 64 and of 256; FlexAttention on a GPU."""
    for block in BLOCKS:
        layout = _layout(conditions, block)
        ours, dense = realise(MASK, layout, layout, torch.float32), _dense(MASK, layout, layout)
        assert ours.dense is None, "nothing is skipped"
        shape = 1, layout.length, HEADS, WIDTH
        *qkv, upstream = (torch.randn(shape, device=conditions.device).transpose(1, 2) for _ in range(4))
        for each in qkv:
            each.requires_grad_()

        def run(attend: Attend, qkv: list[Tensor] = qkv, upstream: Tensor = upstream) -> tuple[Tensor, ...]:
            out = attend(*qkv)
            return out, *torch.autograd.grad(out, qkv, upstream)

        contenders = {"ours": partial(run, ours), "dense": partial(run, dense)}
        for one, other in zip(contenders["ours"](), contenders["dense"](), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
        yield conditions.result(
            f"skip_causal_attention/{block}", conditions.compare(contenders), "dense", goal=2.5,
            more={"visible_share": float(MASK.dense(layout, layout).float().mean())}, positions=layout.length,
            block=block, heads=HEADS, width=WIDTH,
        )  # fmt: skip


@register("skip_causal_step", "forward and backward of 4 layers over a clean and a noisy copy, against a dense mask")
def skip_causal_step(conditions: Conditions) -> Iterator[Result]:
    """2 x 2048 positions, width 384, blocks of 64 and of 256, with modulation and normalised queries and keys."""
    for block in BLOCKS:
        layout = _layout(conditions, block)
        torch.manual_seed(0)
        model = Transformer(dim=HEADS * WIDTH, depth=4, heads=HEADS).to(conditions.device)
        fill_zeros(model)
        x, upstream = torch.randn(2, 1, layout.length, HEADS * WIDTH, device=conditions.device)
        cond = torch.randn(1, HEADS * WIDTH, device=conditions.device)
        run = partial(_gradients, model, x, layout, cond, upstream)
        contenders = {"ours": partial(run, dense=False), "dense": partial(run, dense=True)}
        for one, other in zip(contenders["ours"](), contenders["dense"](), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2 * float(other.detach().abs().max()))
        settings: dict[str, Any] = {"positions": layout.length, "block": block, "depth": 4, "width": HEADS * WIDTH}
        measured = conditions.compare(contenders)
        yield conditions.result(f"skip_causal_step/{block}", measured, "dense", goal=1.6, **settings)


def _gradients(
    model: Transformer, x: Tensor, layout: Layout, cond: Tensor, upstream: Tensor, dense: bool
) -> tuple[Tensor, ...]:
    with patch("mmgen.model.backbone.transformer.realise", _dense) if dense else nullcontext():
        out = model(x, layout, MASK, cond)
    return torch.autograd.grad(out, list(model.parameters()), upstream)


def _layout(conditions: Conditions, block: int) -> Layout:
    grid = grid_layout((1, 1, conditions.size(2048, 256)), block_size=block)
    return (clean(grid) + noisy(grid)).to(conditions.device)


def _dense(mask: Mask, queries: Layout, keys: Layout, dtype: torch.dtype = torch.float32) -> Attend:
    return Attend(dense=mask.dense(queries, keys))
