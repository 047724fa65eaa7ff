"""Training with a clean and a noisy copy in one row, without work on hidden blocks, against the dense mask."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from mmgen.core.layout import Layout, clean, grid_layout, noisy
from mmgen.core.mask import Mask
from mmgen.core.masks import get_mask
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.attention import Attend, realise
from mmgen.tools.bench.benchmark import Conditions, Result, register, result
from mmgen.tools.bench.timing import compare

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
        ours = realise(MASK, layout, layout, torch.float32)
        assert ours.dense is None, "nothing is skipped"
        dense = Attend(dense=MASK.dense(layout, layout))
        q, k, v, upstream = (
            torch.randn(1, layout.length, HEADS, WIDTH, device=conditions.device).transpose(1, 2) for _ in range(4)
        )
        given = [each.requires_grad_() for each in (q, k, v)]

        contenders = {
            "ours": partial(_through, ours, given, upstream),
            "dense": partial(_through, dense, given, upstream),
        }
        for one, other in zip(contenders["ours"](), contenders["dense"](), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
        measured = compare(contenders, conditions.runs, conditions.device)
        settings = {"positions": layout.length, "block": block, "heads": HEADS, "width": WIDTH, "dtype": "float32"}
        visible = float(MASK.dense(layout, layout).float().mean())
        yield result(
            conditions, f"skip_causal_attention/{block}", measured, "dense", goal=2.5, settings=settings,
            more={"visible_share": visible},
        )  # fmt: skip


@register("skip_causal_step", "forward and backward of 4 layers over a clean and a noisy copy, against a dense mask")
def skip_causal_step(conditions: Conditions) -> Iterator[Result]:
    """2 x 2048 positions, width 384, blocks of 64 and of 256, with modulation and normalised queries and keys."""
    for block in BLOCKS:
        layout = _layout(conditions, block)
        torch.manual_seed(0)
        model = Transformer(dim=HEADS * WIDTH, depth=4, heads=HEADS).to(conditions.device)
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
        x, upstream = torch.randn(2, 1, layout.length, HEADS * WIDTH, device=conditions.device)
        cond = torch.randn(1, HEADS * WIDTH, device=conditions.device)

        contenders = {
            name: partial(_step, model, x, layout, cond, upstream, name == "dense") for name in ("ours", "dense")
        }
        for one, other in zip(contenders["ours"](), contenders["dense"](), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2 * float(other.detach().abs().max()))
        measured = compare(contenders, conditions.runs, conditions.device)
        settings = {"positions": layout.length, "block": block, "depth": 4, "width": HEADS * WIDTH, "dtype": "float32"}
        yield result(conditions, f"skip_causal_step/{block}", measured, "dense", goal=1.6, settings=settings)


def _through(attend: Attend, given: list[Tensor], upstream: Tensor) -> tuple[Tensor, ...]:
    out = attend(*given)
    return out, *torch.autograd.grad(out, given, upstream)


def _step(
    model: Transformer, x: Tensor, layout: Layout, cond: Tensor, upstream: Tensor, dense: bool
) -> tuple[Tensor, ...]:
    """All gradients."""
    with patch("mmgen.model.backbone.transformer.realise", _dense) if dense else nullcontext():
        out = model(x, layout, MASK, cond)
    return torch.autograd.grad(out, list(model.parameters()), upstream)


def _layout(conditions: Conditions, block: int) -> Layout:
    grid = grid_layout((1, 1, conditions.size(2048, 256)), block_size=block)
    return (clean(grid) + noisy(grid)).to(conditions.device)


def _dense(mask: Mask, queries: Layout, keys: Layout, dtype: torch.dtype) -> Attend:
    return Attend(dense=mask.dense(queries, keys))
