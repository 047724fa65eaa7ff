"""FSQ against the whole of its implicit codebook, and against vector-quantize-pytorch."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers import FSQ

STEPS = pytest.mark.parametrize("steps", [[3], [4], [8, 6, 5], [5, 3, 4, 7], [8, 5, 5, 5]], ids=str)


def vectors(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def integers(steps: list[int]) -> Tensor:
    """(product, dim) the integers of every code, in the order of their numbers: the first changes fastest."""
    ranges = [range(-(count // 2), -(count // 2) + count) for count in reversed(steps)]
    return torch.tensor(list(product(*ranges))).flip(-1)


def sources(steps: list[int]) -> Tensor:
    """(product, dim) float64: a z for every code, in the order of their numbers, from the inverse of the bound."""
    counts = torch.tensor(steps, dtype=torch.float64)
    half_range, offset = (counts - 1) * 1.001 / 2, (counts % 2 == 0) / 2
    return torch.atanh((integers(steps) + offset) / half_range) - torch.atanh(offset / half_range)


@STEPS
def test_indices_and_codes_are_a_bijection(steps: list[int]) -> None:
    fsq, indices = FSQ(steps), torch.arange(math.prod(steps))
    codes = fsq.lookup(indices)
    assert fsq.size == len(codes.unique(dim=0)) == len(indices)
    expected = integers(steps) / torch.tensor([count // 2 for count in steps])
    torch.testing.assert_close(codes, expected)
    assert codes.abs().max() <= 1


@STEPS
def test_every_code_has_a_source_that_leads_back_to_it(steps: list[int]) -> None:
    fsq, z = FSQ(steps), sources(steps)
    for exact in (z, z.float()):
        quantized = fsq(exact)
        assert torch.equal(quantized.indices, torch.arange(fsq.size))
        assert torch.equal(fsq.encode(exact), quantized.indices)
        torch.testing.assert_close(quantized.values, fsq.lookup(quantized.indices).to(exact.dtype))


@STEPS
def test_code_is_the_nearest_of_all_to_the_bounded_vector(steps: list[int]) -> None:
    fsq, z = FSQ(steps), vectors(4, 50, len(steps), scale=2)
    distances = torch.cdist(fsq.bound(z).double(), integers(steps).double())
    assert torch.equal(fsq(z).indices, distances.argmin(-1))


@pytest.mark.parametrize("count", [3, 4, 5, 8, 999, 1000])
def test_extreme_numbers_reach_the_outermost_values_and_no_further(count: int) -> None:
    fsq = FSQ([count])
    ends = torch.tensor([[-1e30], [-20.0], [20.0], [1e30]])
    assert fsq.encode(ends).tolist() == [0, 0, count - 1, count - 1]
    assert torch.equal(fsq(ends).values, fsq.lookup(fsq.encode(ends)))
    ladder = torch.linspace(-8, 8, 4001)[:, None]
    assert (fsq.encode(ladder).diff() >= 0).all()
    assert fsq(torch.zeros(1, 1)).values == 0


def test_agrees_with_vector_quantize_pytorch() -> None:
    module = pytest.importorskip("vector_quantize_pytorch")
    steps, z = [8, 6, 5, 3], vectors(6, 40, 4, scale=1.5)
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    values, indices = module.FSQ(steps)(a)
    quantized = FSQ(steps)(b)
    assert torch.equal(quantized.indices, indices.long())
    torch.testing.assert_close(quantized.values, values)
    weight = vectors(6, 40, 4, seed=1)
    (expected,) = torch.autograd.grad((values * weight).sum(), a)
    (got,) = torch.autograd.grad((quantized.values * weight).sum(), b)
    torch.testing.assert_close(got, expected)


def test_gradient_is_straight_through_to_the_bound() -> None:
    fsq, z, weight = FSQ([5, 4]), vectors(9, 2).requires_grad_(), vectors(9, 2, seed=1)
    (expected,) = torch.autograd.grad((fsq.bound(z) / 2 * weight).sum(), z)
    (got,) = torch.autograd.grad((fsq(z).values * weight).sum(), z)
    torch.testing.assert_close(got, expected)


def test_has_neither_losses_nor_state() -> None:
    fsq = FSQ((8, 5, 5, 5)).train()
    assert fsq(vectors(3, 4)).losses == {}
    assert not fsq.state_dict()
    assert fsq.size == 1000


def test_the_largest_alphabet_fits() -> None:
    fsq = FSQ([1000] * 6)
    ends = torch.tensor([0, 1, 999, 1000, 10**18 - 1])
    half = fsq.lookup(ends) * 500 + 500
    assert half.round().long().tolist()[1:4] == [[1, 0, 0, 0, 0, 0], [999, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]
    assert torch.equal(fsq.encode(torch.full((6,), 99.0)), ends[-1])


def test_mistakes_are_named() -> None:
    for steps in ([], [2, 5], [5, 1001]):
        with pytest.raises(UserError, match="FSQ steps must be a list of numbers from 3 to 1000"):
            FSQ(steps)
    with pytest.raises(UserError, match="beyond 2\\^62"):
        FSQ([1000] * 7)
