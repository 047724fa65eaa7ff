"""What holds for every quantizer, whatever its codes are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.tokenizers.quantizers import BSQ, FSQ, LFQ, VQ, Quantizer, ResidualVQ
from mmgen.tokenizers.quantizers.base import NotFinite

Make = Callable[[], Quantizer]
MAKERS: dict[str, Make] = {
    "bsq": lambda: BSQ(6, group=3, commitment=0.5),
    "lfq": lambda: LFQ(6, group=2),
    "fsq": lambda: FSQ([4, 5, 3]),
    "vq": lambda: VQ(12, 3, dead_below=0.5),
    "cosine": lambda: VQ(12, 3, cosine=True),
    "residual": lambda: ResidualVQ(12, 3, levels=3, dead_below=0.5),
    "dropout": lambda: ResidualVQ(12, 3, levels=3, dropout=0.7),
    "shared": lambda: ResidualVQ(12, 3, levels=3, shared=True, dropout=0.7, dead_below=0.5),
}
ALL = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def vectors(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def trained(make: Make, batches: int = 3) -> Quantizer:
    quantizer = make().train()
    for batch in range(batches):
        quantizer(vectors(4, 15, quantizer.dim, seed=100 + batch))
    return quantizer


def state(quantizer: Quantizer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@ALL
def test_forward_encode_and_lookup_agree_exactly(make: Make) -> None:
    quantizer = trained(make).eval()
    z = vectors(2, 3, 5, quantizer.dim, scale=2)
    quantized = quantizer(z)
    assert torch.equal(quantizer.encode(z), quantized.indices)
    assert torch.equal(quantizer.lookup(quantized.indices), quantized.values)
    assert quantized.values.shape == z.shape


@ALL
def test_tokens_are_as_the_spec_says(make: Make) -> None:
    quantizer = trained(make).eval()
    spec = TokenSpec(quantizer.kind, quantizer.size, (1, 4, 5), levels=quantizer.levels)
    indices = quantizer.encode(vectors(3, 20, quantizer.dim, scale=3))
    assert indices.shape == (3, spec.length, *([spec.levels] if spec.kind == "residual" else []))
    assert indices.dtype == torch.int64
    assert 0 <= indices.min() <= indices.max() < spec.alphabet


@ALL
def test_every_vector_is_quantized_by_itself(make: Make) -> None:
    quantizer = trained(make).eval()
    z = vectors(2, 3, 4, quantizer.dim)
    whole = quantizer.encode(z)
    assert torch.equal(quantizer.encode(z.flatten(0, 2)), whole.flatten(0, 2))
    assert torch.equal(quantizer.encode(z[1, 2, 3]), whole[1, 2, 3])
    assert torch.equal(quantizer(z[1, 2, 3]).indices, whole[1, 2, 3])


@ALL
def test_losses_are_finite_scalars_and_carry_gradients(make: Make) -> None:
    quantizer = trained(make)
    for value in (0.0, 1e-20, 1.0, 1e6):
        z = torch.full((4, 6, quantizer.dim), value, requires_grad=True)
        quantized = quantizer(z)
        parts = [quantized.values.sum(), *quantized.losses.values()]
        assert all(part.dim() == 0 and part.isfinite() for part in parts)
        (gradient,) = torch.autograd.grad(sum(parts), z)
        assert gradient.isfinite().all()


@ALL
def test_only_forward_in_training_changes_state(make: Make) -> None:
    quantizer = trained(make)
    z, before = vectors(4, 5, quantizer.dim), state(quantizer)
    quantizer.lookup(quantizer.encode(z))
    quantizer.eval()(z)
    assert same(state(quantizer), before)
    quantizer.train()(z)
    assert same(state(quantizer), before) == (not before)  # where there is a state, it learns


@ALL
def test_training_resumes_bit_for_bit_and_touches_no_global_generator(make: Make) -> None:
    quantizer, copy = trained(make), make().train()
    copy.load_state_dict(quantizer.state_dict())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    goes_on = [quantizer(vectors(6, 5, quantizer.dim, seed=step)) for step in range(3)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    for step, expected in enumerate(goes_on):
        got = copy(vectors(6, 5, quantizer.dim, seed=step))
        assert torch.equal(got.values, expected.values)
        assert torch.equal(got.indices, expected.indices)
        assert same(got.losses, expected.losses)
    assert same(state(copy), state(quantizer))


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision_goes_in_and_out_and_never_inside(make: Make, dtype: torch.dtype) -> None:
    plain, cast = trained(make), trained(make).to(dtype)
    z = vectors(4, 10, plain.dim).to(dtype)
    expected = plain(z.float())
    with torch.autocast("cpu", torch.bfloat16):
        got = cast(z)
        assert torch.equal(cast.eval().encode(z), plain.eval().encode(z.float()))
    assert got.values.dtype == dtype
    assert torch.equal(got.values, expected.values.to(dtype))
    assert torch.equal(got.indices, expected.indices)
    assert same(got.losses, expected.losses)
    assert same(state(cast), state(plain))


@ALL
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_has_no_code_and_spoils_nothing(make: Make, value: float) -> None:
    """In training, all that comes of it is NaN, the gradient too, so that its step is skipped."""
    quantizer = trained(make)
    z, before = vectors(4, 5, quantizer.dim), state(quantizer)
    z[1, 2, 0] = value
    given = z.clone().requires_grad_()
    quantized = quantizer(given)
    assert quantized.values.isnan().all()
    assert all(each.isnan() for each in quantized.losses.values())
    quantized.values.sum().backward()
    assert given.grad is not None
    assert given.grad.isnan().all()
    for use in (quantizer.eval(), quantizer.encode):
        with pytest.raises(NotFinite, match="NaN or infinity"):
            use(z)
    assert same(state(quantizer), before)


@ALL
def test_wrong_shapes_and_indices_are_named(make: Make) -> None:
    quantizer = trained(make)
    with pytest.raises(UserError, match=f"quantizes vectors of {quantizer.dim} numbers, got shape"):
        quantizer(vectors(4, quantizer.dim + 1))
    indices = quantizer.encode(vectors(4, 5, quantizer.dim))
    last = (2**quantizer.size if quantizer.kind == "bits" else quantizer.size) - 1
    for index in (-1, last + 1):
        wrong = indices.clone()
        wrong.view(-1)[3] = index
        with pytest.raises(UserError, match=f"has codes 0 to {last}, got"):
            quantizer.lookup(wrong)
    with pytest.raises(UserError, match="looks up integers"):
        quantizer.lookup(indices.float())
