"""ResidualVQ against exhaustive search level by level, VQ, a hand-written average, and vector-quantize-pytorch."""

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.tokenizers.quantizers import VQ, ResidualVQ

SHARED = pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])


def vectors(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def trained(codes: int = 12, dim: int = 3, levels: int = 3, batches: int = 4, **options) -> ResidualVQ:
    rvq = ResidualVQ(codes, dim, levels, **options).train()
    for batch in range(batches):
        rvq(vectors(5, 17, dim, seed=100 + batch))
    return rvq


def errors(rvq: ResidualVQ, z: Tensor) -> Tensor:
    """(levels,) mean squared error of the first 1, 2, ... levels, per number."""
    indices = rvq.encode(z)
    return torch.stack([(rvq.lookup(indices[..., :q]) - z).square().mean() for q in range(1, rvq.levels + 1)])


@SHARED
def test_each_level_takes_the_nearest_code_to_what_is_left(shared: bool) -> None:
    rvq, z = trained(shared=shared).eval(), vectors(4, 9, 3, seed=1)
    assert len(rvq.books) == (1 if shared else 3)
    left, expected = z.double(), []
    for book in rvq.by_level:
        codes = book.codebook.double()
        expected.append((left[..., None, :] - codes).norm(dim=-1).argmin(-1))
        left = left - codes[expected[-1]]
    quantized = rvq(z)
    assert torch.equal(quantized.indices, torch.stack(expected, dim=-1))
    torch.testing.assert_close(quantized.values.double(), z.double() - left)


def test_one_level_is_vq() -> None:
    """In training too: the same codes die, are revived with the same vectors, and follow them."""
    options = {"decay": 0.7, "dead_below": 0.5, "commitment": 0.3}
    vq, rvq = VQ(10, 3, **options).train(), ResidualVQ(10, 3, levels=1, **options).train()
    for step in range(4):
        z = vectors(6, 8, 3, seed=step)
        expected, got = vq(z), rvq(z)
        assert torch.equal(got.values, expected.values)
        assert torch.equal(got.indices, expected.indices[..., None])
        assert torch.equal(got.losses["commitment_1"], expected.losses["commitment"])
    for name, value in vq.state_dict().items():
        assert torch.equal(rvq.state_dict()[f"books.0.{name}"], value)


@SHARED
def test_agrees_with_vector_quantize_pytorch(shared: bool) -> None:
    module = pytest.importorskip("vector_quantize_pytorch")
    ours = trained(shared=shared, decay=0.9, dead_below=0.0)
    theirs = module.ResidualVQ(
        dim=3,
        num_quantizers=3,
        codebook_size=12,
        decay=0.9,
        eps=1e-5,
        commitment_weight=0.25,
        rotation_trick=False,
        threshold_ema_dead_code=0,
        shared_codebook=shared,
    ).train()
    for book, layer in zip(ours.books, theirs.layers, strict=False):
        layer._codebook.embed.copy_(book.codebook[None])
        layer._codebook.embed_avg.copy_(book.sums[None])
        layer._codebook.cluster_size.copy_(book.usage[None])
    for step in range(1 if shared else 3):  # theirs averages a shared codebook once a level, ours once a batch
        z = vectors(6, 10, 3, seed=step)
        quantized = ours(z)
        values, indices, losses = theirs(z)
        assert torch.equal(quantized.indices, indices)
        torch.testing.assert_close(quantized.values, values)
        torch.testing.assert_close(torch.stack(list(quantized.losses.values())), losses)
    if not shared:
        for book, layer in zip(ours.books, theirs.layers, strict=True):
            torch.testing.assert_close(book.codebook, layer._codebook.embed[0])
    z = vectors(6, 10, 3, seed=9)
    coarse = ours.eval().encode(z)[..., :2]
    padded = torch.nn.functional.pad(coarse, (0, 1), value=-1)
    if not shared:
        torch.testing.assert_close(ours.lookup(coarse), theirs.eval().get_output_from_indices(padded))


def test_shared_codebook_follows_the_vectors_of_all_levels_together() -> None:
    decay, smoothing = 0.8, 1e-3
    rvq = trained(shared=True, decay=decay, smoothing=smoothing, dead_below=0.0)
    book = rvq.books[0]
    codebook, usage, sums = (x.double() for x in (book.codebook, book.usage, book.sums))
    for step in range(3):
        z, left, seen = vectors(30, 3, seed=step), vectors(30, 3, seed=step).double(), []
        for _ in range(3):
            chosen = (left[:, None] - codebook).norm(dim=-1).argmin(-1)
            seen.append((left, chosen))
            left = left - codebook[chosen]
        assert torch.equal(rvq(z).indices, torch.stack([chosen for _, chosen in seen], dim=-1))
        for code in range(rvq.size):
            own = torch.cat([level[chosen == code] for level, chosen in seen])
            usage[code] = decay * usage[code] + (1 - decay) * len(own)
            sums[code] = decay * sums[code] + (1 - decay) * own.sum(0)
        total = usage.sum()
        codebook = sums / ((usage + smoothing) / (total + rvq.size * smoothing) * total)[:, None]
        torch.testing.assert_close(book.usage.double(), usage, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(book.codebook.double(), codebook, atol=1e-5, rtol=1e-5)


def test_levels_at_their_means_never_increase_the_error() -> None:
    """A codebook of the means of its cells leaves at most the error it was given, on its own data: without a memory,
    training on one batch is k-means level by level, which comes to rest there.
    """
    rvq, z = ResidualVQ(6, 3, levels=4, decay=0.0, dead_below=0.0, smoothing=1e-9).train(), vectors(40, 3)
    for _ in range(60):
        rvq(z)
    before = {name: value.clone() for name, value in rvq.state_dict().items() if "batches" not in name}
    rvq(z)
    assert all(torch.allclose(rvq.state_dict()[name], value, atol=1e-6) for name, value in before.items())  # at rest
    levels = torch.cat([z.square().mean()[None], errors(rvq.eval(), z)])
    assert (levels.diff() < 0).all()


@SHARED
def test_more_levels_come_nearer_on_new_data(shared: bool) -> None:
    rvq = trained(codes=48, levels=4, batches=30, shared=shared, decay=0.8).eval()
    assert (errors(rvq, vectors(500, 3, seed=7)).diff() < 0).all()


@SHARED
def test_first_batch_gives_every_level_something_to_do(shared: bool) -> None:
    """Levels that picked the same vectors, or shared a codebook of whole vectors, would find little to do."""
    rvq, z = ResidualVQ(32, 3, levels=4, shared=shared).train(), vectors(8, 25, 3)
    rvq(z)
    assert (errors(rvq, z).diff() < 0).all()
    assert errors(rvq, z)[-1] < 0.15 * errors(rvq, z)[0]
    for book in rvq.books:
        assert len(book.codebook.unique(dim=0)) == 32


def test_dead_code_of_a_shared_codebook_moves_to_what_some_level_has_left() -> None:
    rvq, z = trained(shared=True, decay=0.999999, batches=1), vectors(20, 3, seed=7)
    book = rvq.books[0]
    book.codebook[3], book.sums[3], book.usage[3] = 1e3, 0.0, 0.0
    indices = rvq.encode(z)
    left = torch.stack([z, z - rvq.lookup(indices[..., :1]), z - rvq.lookup(indices[..., :2])])
    rvq(z)
    assert (book.codebook[3] - left).norm(dim=-1).min() < 1e-5
    assert book.usage[3] > 1


@SHARED
def test_commitment_is_the_error_of_the_first_levels(shared: bool) -> None:
    rvq, z = trained(shared=shared, commitment=0.5).eval(), vectors(7, 4, 3)
    losses = rvq(z).losses
    assert list(losses) == ["commitment_1", "commitment_2", "commitment_3"]
    torch.testing.assert_close(torch.stack(list(losses.values())), 0.5 * errors(rvq, z))


@SHARED
def test_gradients_are_straight_through_once_and_of_every_level(shared: bool) -> None:
    rvq, z, weight = (
        trained(shared=shared, commitment=0.5).eval(),
        vectors(7, 3).requires_grad_(),
        vectors(7, 3, seed=1),
    )
    quantized = rvq(z)
    (got,) = torch.autograd.grad((quantized.values * weight).sum(), z, retain_graph=True)
    assert torch.equal(got, weight)
    for level in range(3):
        codes = rvq.lookup(quantized.indices[..., : level + 1])
        (expected,) = torch.autograd.grad(0.5 * (z - codes).square().mean(), z)
        (got,) = torch.autograd.grad(quantized.losses[f"commitment_{level + 1}"], z, retain_graph=True)
        torch.testing.assert_close(got, expected)


@SHARED
def test_dropout_shows_a_prefix_of_levels_and_changes_nothing_else(shared: bool) -> None:
    options = {"levels": 4, "shared": shared, "dead_below": 0.0}
    plain, some = trained(**options), trained(**options, dropout=0.6)
    z = vectors(800, 4, 3)
    looked_up = [plain.lookup(plain.encode(z)[..., :q]) for q in range(1, 5)]
    expected, got = plain(z), some(z)
    shown = torch.stack([(got.values == prefix).flatten(1).all(-1) for prefix in looked_up])  # (levels, samples)
    assert (shown.sum(0) == 1).all()  # every sample, with all its vectors, is one of the prefixes
    shares = shown.double().mean(1)
    torch.testing.assert_close(shares, torch.tensor([0.15, 0.15, 0.15, 0.55]).double(), atol=0.06, rtol=0)
    assert torch.equal(got.indices, expected.indices)
    assert all(torch.equal(got.losses[name], expected.losses[name]) for name in expected.losses)
    assert all(torch.equal(some.state_dict()[name], value) for name, value in plain.state_dict().items())
    assert torch.equal(some.eval()(z).values, plain.eval()(z).values)


def test_dropout_differs_from_batch_to_batch_and_a_lone_vector_is_one_sample() -> None:
    rvq = ResidualVQ(4, 2, levels=8, dropout=1.0).train()
    first, second = rvq._levels_used(torch.zeros(50, 2)), rvq._levels_used(torch.zeros(50, 3, 2)).view(50, 3)
    assert torch.equal(first, second[:, 0])  # the same batch, however large its samples are
    assert torch.equal(second, first[:, None].expand(50, 3))
    assert set(first.tolist()) == set(range(1, 9))
    rvq.books[0].batches += 1
    assert not torch.equal(rvq._levels_used(torch.zeros(50, 2)), first)
    assert rvq._levels_used(torch.zeros(2)).shape == (1,)


def test_mistakes_are_named() -> None:
    rvq = trained()
    for shape in ((2, 0), (2, 4), ()):
        with pytest.raises(UserError, match="looks up 1 to 3 levels on the last axis"):
            rvq.lookup(torch.zeros(shape, dtype=torch.int64))
    for options in ({"levels": 0}, {"dropout": 1.5}):
        with pytest.raises(UserError, match="levels >= 1 and 0 <= dropout <= 1"):
            ResidualVQ(12, 3, **options)
    with pytest.raises(UserError, match="cannot share 3 codes among 4 levels"):
        ResidualVQ(3, 3, shared=True)
    with pytest.raises(UserError, match="VQ needs codes >= 2"):
        ResidualVQ(1, 3)
    for empty in (ResidualVQ(12, 3), ResidualVQ(12, 3, shared=True)):
        for use in (empty.eval(), empty.encode, lambda z, empty=empty: empty.lookup(z.long())):
            with pytest.raises(UserError, match="codebook is empty"):
                use(torch.zeros(2, 3))
