"""LFQ against BSQ, whose entropies it shares, and against vector-quantize-pytorch."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmgen.tokenizers.quantizers import BSQ, LFQ
from tests.tokenizers.quantizers.test_bsq import all_codes, vectors


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_code_is_the_nearest_of_all(bits: int) -> None:
    lfq, z, codes = LFQ(bits), vectors(5, 40, bits), all_codes(bits).sign()
    quantized = lfq(z)
    assert torch.equal(quantized.indices, torch.cdist(z.double(), codes).argmin(-1))
    assert torch.equal(quantized.values.double(), codes[quantized.indices])


@pytest.mark.parametrize("group", [1, 3, 6])
def test_on_the_sphere_it_is_bsq(group: int) -> None:
    """A point of the sphere stretched to where +-1 are the codes: all losses are the same, and so are the bits."""
    z, weights = vectors(7, 9, 6), {"entropy_weight": 0.3, "diversity": 0.7, "commitment": 0.4}
    bsq = BSQ(6, group, temperature=0.1, **weights)(z)
    lfq = LFQ(6, group, temperature=0.1 * 6, **weights)(F.normalize(z, dim=-1) * math.sqrt(6))
    assert torch.equal(lfq.indices, bsq.indices)
    torch.testing.assert_close(lfq.values, bsq.values * math.sqrt(6))
    assert lfq.losses.keys() == bsq.losses.keys()
    for name, expected in bsq.losses.items():
        torch.testing.assert_close(lfq.losses[name], expected)


@pytest.mark.parametrize("inverse", [1.0, 4.0])
def test_agrees_with_vector_quantize_pytorch(inverse: float) -> None:
    module = pytest.importorskip("vector_quantize_pytorch")
    theirs = module.LFQ(
        dim=5, codebook_size=32, entropy_loss_weight=0.3, diversity_gamma=0.7, commitment_loss_weight=0.2
    ).train()
    weights = {"entropy_weight": 0.3, "diversity": 0.7, "commitment": 0.2}
    ours = LFQ(5, group=5, temperature=1 / (2 * inverse), **weights)  # theirs has exp(2 inverse c.z)
    z = vectors(4, 25, 5)
    (values, indices, loss), parts = theirs(z, inv_temperature=inverse, return_loss_breakdown=True)
    quantized = ours(z)
    assert torch.equal(quantized.indices, indices)
    torch.testing.assert_close(quantized.values, values)
    certain, spread = ours.entropies(z)
    close = {"atol": 2e-3, "rtol": 1e-3}  # theirs clamps probabilities at 1e-5
    torch.testing.assert_close(certain, parts.per_sample_entropy, **close)
    torch.testing.assert_close(spread, parts.batch_entropy, **close)
    torch.testing.assert_close(quantized.losses["commitment"], 0.2 * parts.commitment)
    torch.testing.assert_close(sum(quantized.losses.values()), loss, **close)


def test_gradient_is_straight_through() -> None:
    z, weight = vectors(9, 4).requires_grad_(), vectors(9, 4, seed=1)
    (got,) = torch.autograd.grad((LFQ(4)(z).values * weight).sum(), z)
    assert torch.equal(got, weight)


def test_losses_reach_the_ends_of_their_documented_ranges() -> None:
    lfq = LFQ(4, 4, temperature=0.01, entropy_weight=0.5, diversity=0.8, commitment=0.25)
    full, close = 0.5 * 4 * math.log(2), pytest.approx
    every_code = {name: loss.item() for name, loss in lfq(lfq.lookup(torch.arange(16))).losses.items()}
    assert every_code == {
        "certainty": close(0, abs=1e-4),
        "diversity": close(-0.8 * full, rel=1e-4),
        "commitment": close(0, abs=1e-6),
    }
    small = {name: loss.item() for name, loss in lfq(vectors(50, 4, scale=1e-6)).losses.items()}
    assert small["certainty"] == close(full, rel=1e-4)
    assert small["commitment"] == close(0.25, rel=1e-4)
    assert lfq(torch.ones(9, 4)).losses["diversity"].item() == close(0, abs=1e-4)


def test_descent_on_the_losses_undoes_a_collapse_and_settles_at_the_codes() -> None:
    z = (1 + 0.3 * vectors(128, 3)).requires_grad_()
    lfq, optimizer = LFQ(3, 3, entropy_weight=1.0, diversity=2.0), torch.optim.Adam([z], lr=0.05)
    assert (lfq.encode(z) == 7).all()
    for _ in range(150):
        optimizer.zero_grad()
        sum(lfq(z).losses.values()).backward()
        optimizer.step()
    assert torch.bincount(lfq.encode(z), minlength=8).min() >= 4
    assert (z.abs() - 1).abs().max() < 0.6  # beyond 1, where certainty and commitment balance
