"""Cross-entropy over a large vocabulary, its logits made in parts, against whole logits."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.model.heads.chunked import chunked_cross_entropy
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.timing import peak_mebibytes

WIDTH = 384


@register("cross_entropy", "loss over 32,768 values from features of width 384, forward and backward: memory and time")
def cross_entropy(conditions: Conditions) -> Iterator[Result]:
    """1024 positions, which is where the heads begin to make logits in parts."""
    positions, values = conditions.size(1024, 64), conditions.size(32_768, 512)
    torch.manual_seed(0)
    features, weight, bias = (
        (torch.randn(shape, device=conditions.device) / WIDTH**0.5).requires_grad_()
        for shape in ((positions, WIDTH), (values, WIDTH), (values,))
    )
    targets = torch.randint(values, (positions, 1), device=conditions.device)
    at_once = positions * values // 8

    def run(nats: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        loss = nats().mean()
        return loss, *torch.autograd.grad(loss, (features, weight, bias))

    contenders = {
        "ours": lambda: run(lambda: chunked_cross_entropy(features, weight, bias, targets, at_once)),
        "whole logits": lambda: run(lambda: F.cross_entropy(F.linear(features, weight, bias), targets[:, 0])),
    }
    for one, other in zip(contenders["ours"](), contenders["whole logits"](), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    settings: dict[str, Any] = {"positions": positions, "values": values, "width": WIDTH, "at_once": at_once}
    ours, whole = (peak_mebibytes(each, conditions.device) for each in contenders.values())
    yield conditions.memory_result("cross_entropy/memory", ours, whole, "whole logits", 2.0, **settings)
    yield conditions.result("cross_entropy/time", conditions.compare(contenders), "whole logits", **settings)
