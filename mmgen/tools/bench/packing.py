"""Training on rows of different lengths without their padding, against padded rows."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from mmgen.core.layout import grid_layout, pad, prefix
from mmgen.core.masks import get_mask
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.unpadded import windows
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.models import fill_zeros


@register("packing", "forward and backward of 4 layers over rows of different lengths, against padding them")
def packing(conditions: Conditions) -> Iterator[Result]:
    """16 rows of 64 to 256 tokens, evenly spread, as spoken words are; width 384, causal, with modulation."""
    longest, width = conditions.size(256, 64), 384
    lengths = torch.linspace(longest // 4, longest, 16).round().long().to(conditions.device)
    layout = pad((prefix(1) + grid_layout((longest, 1, 1))).to(conditions.device), lengths, start=1)
    packed = windows(layout)
    assert packed is not None, "nothing is packed"
    torch.manual_seed(0)
    model, mask = Transformer(dim=width, depth=4, heads=6).to(conditions.device), get_mask("causal")
    fill_zeros(model)
    x = torch.randn(len(lengths), layout.length, width, device=conditions.device)
    cond, real = torch.randn(len(lengths), width, device=conditions.device), (layout.document >= 0)[..., None]

    def step(padded: bool) -> list[Tensor]:
        with patch("mmgen.model.backbone.transformer.windows", lambda _: None) if padded else nullcontext():
            out = torch.where(real, model(x, layout, mask, cond), 0.0)
        return [out, *torch.autograd.grad(out.square().mean(), list(model.parameters()))]

    for one, other in zip(step(False), step(True), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2 * float(other.detach().abs().max()))
    measured = conditions.compare({"ours": lambda: step(False), "padded": lambda: step(True)})
    more = {"real_share": float(real.float().mean())}
    settings: dict[str, Any] = {"rows": len(lengths), "longest": longest, "windows": packed.layout.batch}
    yield conditions.result("packing", measured, "padded", goal=1.3, more=more, **settings)
