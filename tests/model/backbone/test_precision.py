"""A backbone in lower precision: nearly the same function, and all around it as it was."""

import copy
import sys

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout
from mmgen.core.masks import get_mask
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.precision import lower


def backbone() -> Transformer:
    torch.manual_seed(0)
    return Transformer(dim=64, depth=2, heads=2, modulation="none", rope=(1, 0, 0)).eval()


@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 0.02), ("int8", 0.03)])
@torch.no_grad()
def test_nearly_the_same_at_a_part_of_the_bytes(precision: str, near: float) -> None:
    if precision == "int8":
        pytest.importorskip("torchao")
    full, layout, mask = backbone(), grid_layout((9, 1, 1)), get_mask("causal")
    low = copy.deepcopy(full)
    lower(low, precision)
    x = torch.randn(2, 9, 64)
    expected, actual = full(x, layout, mask), low(x, layout, mask)
    assert actual.dtype == torch.float32
    off = (actual - expected).norm() / expected.norm()
    assert 0 < off < near
    cache = low.new_cache(2, 9)
    assert cache.room(1).__next__()[0].dtype == torch.bfloat16
    pieces = [low(x[:, i : i + 1], layout.slice(i, i + 1), mask, cache=cache) for i in range(9)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), actual, atol=0.05, rtol=0.05)


def test_as_it_is() -> None:
    model = backbone()
    before = [parameter.clone() for parameter in model.parameters()]
    lower(model, "float32")
    assert all(torch.equal(*each) for each in zip(before, model.parameters(), strict=True))
    assert not model._forward_hooks


def test_what_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="precision 'bfloat' is not one of float32, bfloat16, int8; did you mean"):
        lower(backbone(), "bfloat")
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(UserError, match=r"pip install 'mmgen\[int8\]'"):
        lower(backbone(), "int8")
