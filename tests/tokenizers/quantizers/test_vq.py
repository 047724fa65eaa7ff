"""VQ against exhaustive search, a hand-written moving average, and vector-quantize-pytorch."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers import VQ
from mmgen.tokenizers.quantizers import vq as vq_module

COSINE = pytest.mark.parametrize("cosine", [False, True], ids=["euclidean", "cosine"])


def vectors(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def trained(codes: int = 12, dim: int = 3, batches: int = 2, **options) -> VQ:
    vq = VQ(codes, dim, **options).train()
    for batch in range(batches):
        vq(vectors(5, 17, dim, seed=100 + batch))
    return vq


def state(vq: VQ) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in vq.state_dict().items()}


def same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@COSINE
@pytest.mark.parametrize("at_once", [2**26, 40], ids=["whole", "in_parts"])
def test_code_is_the_nearest_of_all(cosine: bool, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vq_module, "_SCORES_AT_ONCE", at_once)
    vq, z = trained(cosine=cosine).eval(), vectors(4, 9, 3, seed=1)
    points, codes = (F.normalize(z, dim=-1) if cosine else z).double(), vq.codebook.double()
    distances = (points[..., None, :] - codes).norm(dim=-1)
    quantized = vq(z)
    assert torch.equal(quantized.indices, distances.argmin(-1))
    assert torch.equal(
        quantized.values, vq.codebook[quantized.indices]
    )  # exactly, although the gradient is straight-through
    assert torch.equal(vq.encode(z), quantized.indices)
    assert torch.equal(vq.lookup(quantized.indices), quantized.values)


@COSINE
def test_codebook_follows_the_moving_average(cosine: bool) -> None:
    decay, smoothing = 0.8, 1e-3
    vq = trained(cosine=cosine, decay=decay, smoothing=smoothing, dead_below=0.0)
    codebook, usage, sums = (x.double() for x in (vq.codebook, vq.usage, vq.sums))
    for step in range(4):
        z = vectors(30, 3, seed=step, scale=2.0)
        points = (F.normalize(z, dim=-1) if cosine else z).double()
        chosen = (points[:, None] - codebook).norm(dim=-1).argmin(-1)
        for code in range(vq.size):
            own = points[chosen == code]
            usage[code] = decay * usage[code] + (1 - decay) * len(own)
            sums[code] = decay * sums[code] + (1 - decay) * own.sum(0)
        total = usage.sum()
        for code in range(vq.size):
            codebook[code] = sums[code] / ((usage[code] + smoothing) / (total + vq.size * smoothing) * total)
            if cosine:
                codebook[code] /= codebook[code].norm()
        assert torch.equal(vq(z).indices, chosen)
        torch.testing.assert_close(vq.codebook.double(), codebook, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(vq.usage.double(), usage, atol=1e-5, rtol=1e-5)


@COSINE
def test_agrees_with_vector_quantize_pytorch(cosine: bool) -> None:
    theirs_module = pytest.importorskip("vector_quantize_pytorch")
    ours = trained(cosine=cosine, decay=0.9, commitment=0.25, dead_below=0.0)
    theirs = theirs_module.VectorQuantize(
        dim=3,
        codebook_size=12,
        decay=0.9,
        eps=1e-5,
        commitment_weight=0.25,
        use_cosine_sim=cosine,
        rotation_trick=False,
    ).train()
    book = theirs._codebook
    book.embed.copy_(ours.codebook[None])
    book.embed_avg.copy_(ours.sums[None])
    book.cluster_size.copy_(ours.usage[None])
    for step in range(3):
        z = vectors(6, 10, 3, seed=step)
        quantized = ours(z)
        values, indices, loss = theirs(z)
        assert torch.equal(quantized.indices, indices)
        torch.testing.assert_close(quantized.values, values)
        torch.testing.assert_close(quantized.losses["commitment"], loss.squeeze())
        torch.testing.assert_close(ours.codebook, book.embed[0])


@COSINE
def test_first_batch_fills_the_codebook_with_its_own_distinct_vectors(cosine: bool) -> None:
    vq, z = VQ(8, 3, cosine=cosine, decay=0.999999).train(), vectors(40, 3)
    indices = vq(z).indices
    points = F.normalize(z, dim=-1) if cosine else z
    gap, source = (vq.codebook[:, None] - points).norm(dim=-1).min(-1)
    assert gap.max() < 1e-3
    assert len(source.unique()) == 8
    assert len(indices.unique()) == 8  # each code is at least the nearest to its own vector


def test_dead_code_moves_to_a_vector_of_the_batch_and_live_codes_stay() -> None:
    vq = trained(decay=0.999999, dead_below=0.1, batches=1)
    vq.codebook[3], vq.sums[3], vq.usage[3] = 1e3, 0.0, 0.0
    before, z = vq.codebook.clone(), vectors(60, 3, seed=7)
    indices = vq(z).indices
    assert (vq.codebook[3] - z).norm(dim=-1).min() < 1e-2
    assert (indices == 3).any()
    live = torch.arange(12) != 3
    torch.testing.assert_close(vq.codebook[live], before[live], atol=1e-3, rtol=1e-3)


def test_clustered_data_ends_with_every_code_in_use() -> None:
    centres = vectors(10, 4, seed=3, scale=10)
    used = {}
    for dead_below in (0.0, 0.2):
        vq = VQ(10, 4, decay=0.8, dead_below=dead_below).train()
        vq(centres[:1] + vectors(50, 4, scale=0.1))  # a first batch from one cluster leaves the other nine uncovered
        for step in range(60):
            z = (centres[:, None] + vectors(10, 5, 4, seed=step, scale=0.1)).flatten(0, 1)
            indices = vq(z).indices
        used[dead_below] = len(indices.unique())
    assert used[0.2] == 10 > used[0.0]


def test_draws_touch_no_global_generator_and_are_keyed_by_the_step() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(trained())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same_state(state(trained()), first)

    a, b = VQ(12, 3).train(), VQ(12, 3).train()
    b.batches += 1
    b.usage.fill_(-1.0)  # dead, as at the start
    z = vectors(90, 3)
    a(z), b(z)
    assert not torch.equal(a.codebook, b.codebook)


@COSINE
def test_gradient_is_straight_through(cosine: bool) -> None:
    vq, z, weight = trained(cosine=cosine, commitment=0.5), vectors(7, 3).requires_grad_(), vectors(7, 3, seed=1)
    point = F.normalize(z, dim=-1) if cosine else z
    (expected,) = torch.autograd.grad((point * weight).sum(), z, retain_graph=True)
    codes = vq.eval()(z).values.detach()
    (got,) = torch.autograd.grad((vq(z).values * weight).sum(), z)
    torch.testing.assert_close(got, expected)
    (expected,) = torch.autograd.grad(0.5 * (point - codes).square().mean(), z)
    (got,) = torch.autograd.grad(vq(z).losses["commitment"], z)
    torch.testing.assert_close(got, expected)


@COSINE
@pytest.mark.parametrize("value", [0.0, 1e-20, 1e8])
def test_gradients_are_finite_at_extreme_inputs(cosine: bool, value: float) -> None:
    vq, z = trained(cosine=cosine).train(), torch.full((4, 3), value, requires_grad=True)
    quantized = vq(z)
    (quantized.values.sum() + sum(quantized.losses.values())).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert all(x.isfinite().all() for x in vq.state_dict().values())


def test_commitment_of_cosine_codes_is_within_its_documented_range() -> None:
    vq = trained(cosine=True, commitment=0.25).eval()
    worst = vq(-vq.codebook.mean(0, keepdim=True)).losses["commitment"]
    best = vq(3 * vq.codebook).losses["commitment"]
    assert 0 <= best < 1e-6 < worst <= 4 * 0.25 / 3


def test_mistakes_are_named() -> None:
    empty, vq = VQ(12, 3), trained()
    for use in (
        lambda: empty.eval()(vectors(2, 3)),
        lambda: empty.encode(vectors(2, 3)),
        lambda: empty.lookup(torch.tensor([0])),
    ):
        with pytest.raises(UserError, match="codebook is empty"):
            use()
    for index in (-1, 12):
        with pytest.raises(UserError, match=f"codes 0 to 11, got {index}"):
            vq.lookup(torch.tensor([index]))
    with pytest.raises(UserError, match="vectors of 3 numbers, got shape \\(2, 4\\)"):
        vq(vectors(2, 4))
    with pytest.raises(UserError, match="dead_below < 1"):
        VQ(12, 3, dead_below=1.0)
