"""What is done in fewer passes is the plain formula, forward and backward."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.layout import grid_layout
from mmgen.model.backbone import fused, positions


def swiglu(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


def normed(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * weight


def tables() -> tuple[Tensor, Tensor]:
    return positions.Rotary(8, (1, 0, 0)).tables(grid_layout((5, 1, 1)), torch.float64)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "swiglu": (fused.swiglu, swiglu, (drawn(2, 5, 12),)),
    "norm": (lambda x, w: fused.rms_norm(x, w, 1e-3), normed, (drawn(2, 5, 6), drawn(6))),
    "norm of heads": (lambda x, w: fused.rms_norm(x, w, 1e-3), normed, (drawn(2, 3, 5, 4), drawn(3, 1, 4))),
    "norm of nothing": (lambda x, w: fused.rms_norm(x, w, 1e-3), normed, (torch.zeros(2, 6).double(), drawn(6))),
    "rotation by unequal halves": (
        lambda x, angle: fused.rotate(x, angle.detach().cos(), angle.detach().sin()) + 0 * angle.sum(),
        lambda x, angle: positions.rotate(x, angle.detach().cos(), angle.detach().sin()) + 0 * angle.sum(),
        (drawn(2, 3, 5, 8), drawn(1, 1, 5, 8)),
    ),
    "rotation": (
        lambda x: fused.rotate(x, *tables()),
        lambda x: positions.rotate(x, *tables()),
        (drawn(2, 5, 3, 8).transpose(1, 2),),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_plain_formula(case: str) -> None:
    ours, plain, given = CASES[case]
    inputs = [each.clone().requires_grad_() for each in given]
    upstream = drawn(*ours(*inputs).shape)
    results = [(out, *torch.autograd.grad(out, inputs, upstream)) for out in (ours(*inputs), plain(*inputs))]
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_same_in_half_precision_and_where_it_is_compiled(case: str) -> None:
    """Where plain formulas are taken."""
    ours, _, given = CASES[case]
    half = [each.bfloat16() for each in given]
    torch.testing.assert_close(ours(*half).double(), ours(*given), rtol=0.05, atol=0.05)
    compiled = torch.compile(ours, backend="eager")
    torch.testing.assert_close(compiled(*given), ours(*given), rtol=1e-12, atol=1e-12)


def test_an_expanded_gradient_is_read_as_what_it_is() -> None:
    x = drawn(2, 5, 12).requires_grad_()
    (expanded,) = torch.autograd.grad(fused.swiglu(x).sum(), x)
    (plain,) = torch.autograd.grad(swiglu(x).sum(), x)
    torch.testing.assert_close(expanded, plain, rtol=1e-12, atol=1e-12)
