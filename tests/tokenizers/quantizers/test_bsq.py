"""BSQ against enumeration of all 2^bits codes, and against vector-quantize-pytorch."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec, pack_bits, unpack_bits
from mmgen.model.embeddings.tokens import BitsEmbedding
from mmgen.model.heads import BitsHead
from mmgen.tokenizers.quantizers import BSQ
from mmgen.tokenizers.quantizers.binary import group_probabilities

GROUPS = [(bits, group) for bits in (1, 2, 4, 6) for group in sorted({1, 2, bits}) if bits % group == 0]


def vectors(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def all_codes(bits: int) -> Tensor:
    """(2^bits, bits) in the order of their numbers."""
    return torch.tensor(list(product([-1.0, 1.0], repeat=bits)), dtype=torch.float64) / math.sqrt(bits)


def entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)


@pytest.mark.parametrize("bits", range(1, 13))
def test_every_index_comes_back(bits: int) -> None:
    bsq, indices = BSQ(bits), torch.arange(2**bits).view(2, -1)
    codes = bsq.lookup(indices)
    torch.testing.assert_close(codes.view(-1, bits).double(), all_codes(bits))  # most significant bit first
    assert torch.equal(bsq.encode(codes), indices)
    assert torch.equal(bsq.eval()(codes).indices, indices)
    assert torch.equal(pack_bits(unpack_bits(indices, bits)), indices)


def test_zero_is_the_negative_sign_everywhere() -> None:
    bsq, z = BSQ(3), torch.tensor([0.0, 1.0, -0.0])
    assert bsq(z).indices == bsq.encode(z) == 0b010


def test_group_probabilities_are_in_the_order_of_the_codes() -> None:
    bits = unpack_bits(torch.arange(16), 4)
    joint = group_probabilities(torch.where(bits, 50.0, -50.0), 2)  # all but certain: one value a group
    assert joint.argmax(-1).tolist() == [[code >> 2, code & 3] for code in range(16)]
    torch.testing.assert_close(joint.sum(-1), torch.ones(16, 2))


def test_62_bits_fit() -> None:
    bsq, ends = BSQ(62, group=2), torch.tensor([0, 1, 2**61, 2**62 - 1])
    assert torch.equal(bsq.encode(bsq.lookup(ends)), ends)
    assert unpack_bits(ends[2], 62).nonzero().tolist() == [[0]]
    assert not bsq.state_dict()  # no codebook


@pytest.mark.parametrize("group", [None, 9])
def test_36_bits_go_through_grouped_heads(group: int | None) -> None:
    """As published: codes of 36 bits, one softmax for each 9 bits (or 12, the default)."""
    head = BitsHead(TokenSpec("bits", 36, (1, 1, 1)), 8, group)
    bsq, embedding = BSQ(36, group=9), BitsEmbedding(36, 8)
    indices = bsq.encode(torch.cat([vectors(40, 36), -torch.ones(1, 36), torch.ones(1, 36)]))
    assert indices[-2:].tolist() == [0, 2**36 - 1]
    assert indices.max() >= 2**35 > 2**32  # beyond what an int32 holds
    choices = head.split(indices)
    assert choices.shape == (42, 36 // (group or 12))
    assert choices.max() < head.choices
    assert torch.equal(head.join(choices), indices)
    assert torch.equal(bsq.encode(bsq.lookup(head.join(choices))), indices)
    bits = unpack_bits(choices, group or 12).flatten(-2)
    assert torch.equal(bits, unpack_bits(indices, 36))  # both count from the most significant bit
    torch.testing.assert_close(head.nats(torch.zeros(42, 8), indices), torch.full((42,), 36 * math.log(2)))
    assert embedding(indices[None]).shape == (1, 42, 8)


class Largest(TorchDispatchMode):
    """Watches for the most numbers any tensor held."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple | list) else (result,)
        self.numbers = max([self.numbers, *(each.numel() for each in made if isinstance(each, Tensor))])
        return result


def test_memory_is_proportional_to_the_bits() -> None:
    largest = {}
    for bits in (18, 36):
        bsq, z = BSQ(bits, group=9), vectors(10, bits).requires_grad_()
        with Largest() as largest[bits]:
            quantized = bsq(z)
            (quantized.values.sum() + sum(quantized.losses.values())).backward()
    assert largest[36].numbers == 2 * largest[18].numbers <= 10 * 36 / 9 * 2**9 * 2
    assert not any(True for _ in bsq.parameters())


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_code_is_the_nearest_of_all(bits: int) -> None:
    z = vectors(5, 40, bits, scale=3.0)
    quantized = BSQ(bits)(z)
    distances = (F.normalize(z, dim=-1).double()[..., None, :] - all_codes(bits)).norm(dim=-1)
    assert torch.equal(quantized.indices, distances.argmin(-1))
    assert torch.equal(quantized.values, BSQ(bits).lookup(quantized.indices))  # exactly
    assert torch.equal(BSQ(bits).encode(z), quantized.indices)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
@pytest.mark.parametrize(("bits", "group"), GROUPS)
def test_entropies_equal_enumeration(bits: int, group: int, temperature: float) -> None:
    u = F.normalize(vectors(3, 11, bits) + 0.5, dim=-1)
    codes = all_codes(bits)
    q = torch.softmax(u.double().flatten(0, 1) @ codes.T / temperature, dim=-1)  # (positions, 2^bits)
    certain, spread = BSQ(bits, group, temperature).entropies(u)

    mean = q.mean(0).view([2] * bits)
    marginals = []
    for start in range(0, bits, group):
        others = [axis for axis in range(bits) if not start <= axis < start + group]
        marginals.append(entropy((mean.sum(others) if others else mean).flatten()))
    torch.testing.assert_close(certain.double(), entropy(q).mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(spread.double(), torch.stack(marginals).sum(), atol=1e-5, rtol=1e-5)


def test_smaller_groups_bound_the_joint_entropy_from_above() -> None:
    u = vectors(500, 1, seed=2).sign() * torch.ones(6) + 0.3 * vectors(500, 6, seed=3)  # strongly correlated bits
    spread = [BSQ(6, group, 0.05).entropies(F.normalize(u, dim=-1))[1].item() for group in (1, 2, 3, 6)]
    assert spread[0] > spread[1] > spread[3]
    assert spread[0] > spread[2] > spread[3]
    assert spread[0] > spread[3] + math.log(2)


@pytest.mark.parametrize("inverse", [1.0, 4.0])
def test_agrees_with_vector_quantize_pytorch(inverse: float) -> None:
    module = pytest.importorskip("vector_quantize_pytorch")
    theirs = module.LFQ(dim=5, codebook_size=32, spherical=True, entropy_loss_weight=0.3, diversity_gamma=0.7).train()
    ours = BSQ(
        5, group=5, temperature=1 / (2 * inverse), entropy_weight=0.3, diversity=0.7
    )  # theirs has exp(2 inverse c.u)
    z = vectors(4, 25, 5)
    (values, indices, loss), parts = theirs(z, inv_temperature=inverse, return_loss_breakdown=True)
    quantized = ours(z)
    assert torch.equal(quantized.indices, indices)
    torch.testing.assert_close(quantized.values, values)
    certain, spread = ours.entropies(F.normalize(z, dim=-1))
    close = {"atol": 2e-3, "rtol": 1e-3}  # theirs clamps probabilities at 1e-5
    torch.testing.assert_close(certain, parts.per_sample_entropy, **close)
    torch.testing.assert_close(spread, parts.batch_entropy, **close)
    torch.testing.assert_close(sum(quantized.losses.values()), loss, **close)


def test_gradient_is_straight_through_to_the_sphere() -> None:
    z, weight = vectors(9, 4).requires_grad_(), vectors(9, 4, seed=1)
    (expected,) = torch.autograd.grad((F.normalize(z, dim=-1) * weight).sum(), z)
    (got,) = torch.autograd.grad((BSQ(4)(z).values * weight).sum(), z)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize(
    "z",
    [torch.zeros(6, 4), torch.full((6, 4), 1e4), torch.eye(4) * 1e-20, vectors(6, 4, scale=1e25)],
    ids=["zero", "saturated", "tiny", "huge"],
)
def test_gradients_are_finite_at_extreme_inputs(z: Tensor, group: int) -> None:
    z = z.clone().requires_grad_()
    quantized = BSQ(4, group, temperature=1e-3, commitment=1.0)(z)
    (quantized.values.sum() + sum(quantized.losses.values())).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("group", [1, 4])
def test_losses_reach_the_ends_of_their_documented_ranges(group: int) -> None:
    bsq = BSQ(4, group, temperature=1e-2, entropy_weight=0.5, diversity=0.8, commitment=0.25)
    full = 0.5 * 4 * math.log(2)
    close = pytest.approx

    every_code = {name: loss.item() for name, loss in bsq(bsq.lookup(torch.arange(16))).losses.items()}
    assert every_code == {
        "certainty": close(0, abs=1e-4),
        "diversity": close(-0.8 * full, rel=1e-4),
        "commitment": close(0, abs=1e-4),
    }
    one_code = {name: loss.item() for name, loss in bsq(bsq.lookup(torch.zeros(16, dtype=torch.int64))).losses.items()}
    assert one_code["diversity"] == close(0, abs=1e-4)
    on_an_axis = {name: loss.item() for name, loss in bsq(torch.eye(4)[:1]).losses.items()}
    assert on_an_axis["certainty"] == close(full * 3 / 4, rel=1e-4)
    assert 0 < on_an_axis["commitment"] < 0.5


def test_descent_on_the_losses_undoes_a_collapse() -> None:
    """Any group balances the bits; only the joint one sees that balanced bits may still leave codes unused."""
    counts = {}
    for group in (1, 3):
        z = (1 + 0.3 * vectors(128, 3)).requires_grad_()
        bsq, optimizer = BSQ(3, group, temperature=0.2, diversity=2.0), torch.optim.Adam([z], lr=0.05)
        assert (bsq.encode(z) == 7).all()
        for _ in range(150):
            optimizer.zero_grad()
            sum(bsq(z).losses.values()).backward()
            optimizer.step()
        counts[group] = torch.bincount(bsq.encode(z), minlength=8)
        assert ((z > 0).float().mean(0) - 0.5).abs().max() < 0.1
    assert counts[3].min() >= 4 > counts[1].min() == 0


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="1 to 62 bits, not 63"):
        BSQ(63)
    with pytest.raises(UserError, match="must divide 10 bits"):
        BSQ(10, group=3)
    for index in (-1, 8):
        with pytest.raises(UserError, match=f"codes 0 to 7, got {index}"):
            BSQ(3).lookup(torch.tensor(index))
    with pytest.raises(UserError, match="looks up integers"):
        BSQ(3).lookup(torch.zeros(2))
    with pytest.raises(UserError, match="vectors of 3 numbers"):
        BSQ(3)(vectors(2, 4))
    for use in (BSQ(3).eval(), BSQ(3).encode):
        with pytest.raises(UserError, match="NaN or infinity"):
            use(torch.tensor([1.0, float("inf"), 0.0]))
