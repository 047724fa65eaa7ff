"""A packed backbone is the backbone, for every option and in pieces; where it would not be, there is none."""

import copy

import pytest
import torch

from mmgen.core.masks import get_mask
from mmgen.model.backbone import Packed, Transformer, prepare
from mmgen.model.backbone.cpu.products import PACKS, Product
from mmgen.paradigms import Autoregressive, Guidance, Request, SampleOptions
from tests.model.backbone.test_cached import LAYOUT, OPTIONS, backbone, inputs
from tests.worlds import draws, generator

options_ = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def packed(model: Transformer) -> Packed:
    made = prepare(model)
    assert isinstance(made, Packed)
    return made


@options_
@dtypes
@torch.no_grad()
def test_one_pass(options: dict[str, object], dtype: torch.dtype) -> None:
    """Twice with one condition, whose modulation is kept, and once with another."""
    model, mask = backbone(dtype, **options), get_mask("block_causal")
    made, (x, cond) = packed(model), inputs(dtype)
    before = x.clone()
    for each in (cond, cond, -cond, None):
        near = TOLERANCE[dtype]
        torch.testing.assert_close(made(x, LAYOUT, mask, each), model(x, LAYOUT, mask, each), rtol=near, atol=near)
    assert torch.equal(x, before)


@torch.no_grad()
def test_there_is_none_where_it_would_not_be_the_same() -> None:
    def is_called(model: Transformer) -> bool:
        return prepare(model) is model

    assert is_called(backbone(torch.float32, norm_order="post"))
    assert is_called(backbone(torch.bfloat16))
    assert is_called(backbone(torch.float32).train())
    with torch.enable_grad():
        assert is_called(backbone(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        assert is_called(backbone(torch.float32))
    assert not is_called(backbone(torch.float32))


@torch.no_grad()
def test_sampling_follows_changed_weights() -> None:
    """Nothing is kept from one sampling call to the next, however weights are changed."""
    model = generator().float()
    request = Request(draws(2), conditions={"class": torch.tensor([0, 1])})

    def sample(of) -> torch.Tensor:
        return list(Autoregressive().sample(of, request, SampleOptions(guidance=Guidance(2.0))))[-1].tokens

    before = sample(model)
    for parameter in model.backbone.parameters():
        parameter.data.neg_()
    after = sample(model)
    assert torch.equal(after, sample(copy.deepcopy(model))) and not torch.equal(after, before)


@pytest.mark.parametrize("rows", [1, 2, 8, 64, 65])
@pytest.mark.parametrize("bias", [False, True])
@dtypes
@torch.no_grad()
def test_products_of_any_number_of_rows(rows: int, bias: bool, dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    weight, x, to = (torch.randn(*shape, generator=source).to(dtype) for shape in [(24, 16), (rows, 16), (rows, 24)])
    b = torch.randn(24, generator=source).to(dtype) if bias else None
    product, near = Product(weight, b), TOLERANCE[dtype]
    expected = torch.nn.functional.linear(x, weight, b)
    torch.testing.assert_close(product(x, torch.empty_like(to)), expected, rtol=near, atol=near)
    torch.testing.assert_close(product.add(x, to.clone()), to + expected, rtol=near, atol=near)


@torch.no_grad()
def test_without_reordered_weights_all_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, cond) = backbone(torch.float32), inputs(torch.float32)
    monkeypatch.setattr("mmgen.model.backbone.cpu.products.PACKS", False)
    plain = packed(model)(x, LAYOUT, get_mask("causal"), cond)
    torch.testing.assert_close(plain, model(x, LAYOUT, get_mask("causal"), cond), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_the_order_of_weights_is_had_where_there_is_onednn() -> None:
    assert PACKS
