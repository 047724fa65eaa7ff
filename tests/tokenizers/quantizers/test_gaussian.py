"""The Gaussian bottleneck: the closed form of its loss, its noise, its moments, and that its state resumes."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import mmgen.tokenizers.quantizers.gaussian as module
from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.tokenizers.quantizers import Gaussian


def posteriors(*shape: int, seed: int = 0, dim: int = 3) -> Tensor:
    """Random means and log-variances, (*shape, 2 dim)."""
    return torch.randn(*shape, 2 * dim, generator=torch.Generator().manual_seed(seed)) + 0.5


def trained(batches: int = 3, **options: float) -> Gaussian:
    gaussian = Gaussian(3, **options).train()
    for seed in range(batches):
        gaussian(posteriors(4, 5, seed=100 + seed))
    return gaussian


def normal(z: Tensor) -> Normal:
    mean, log_variance = z.chunk(2, dim=-1)
    return Normal(mean, (log_variance / 2).exp())


def test_it_is_a_quantizer_of_continuous_tokens() -> None:
    gaussian = trained().eval()
    spec = TokenSpec(gaussian.kind, gaussian.size, (2, 4, 5), levels=gaussian.levels)
    z = posteriors(3, 2, 4, 5)
    quantized = gaussian(z)
    assert (spec.kind, gaussian.inputs, gaussian.dim) == ("continuous", 6, 3)
    assert quantized.indices.shape == (3, *spec.grid, spec.size)
    assert torch.equal(gaussian.encode(z), quantized.indices)
    assert torch.equal(quantized.values, normal(z).mean)
    torch.testing.assert_close(gaussian.lookup(quantized.indices), quantized.values)


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 3, 4, 5)])
def test_every_vector_is_coded_by_itself(shape: tuple[int, ...]) -> None:
    gaussian, z = trained().eval(), posteriors(*shape)
    one_by_one = torch.stack([gaussian.encode(each) for each in z.reshape(-1, 6)]).view(*shape, 3)
    assert torch.equal(gaussian.encode(z), one_by_one)
    assert gaussian.train()(z).values.shape == (*shape, 3)


def test_the_loss_is_the_divergence_from_a_standard_normal() -> None:
    gaussian, z = trained(kl_weight=0.25), posteriors(4, 6)
    expected = 0.25 * kl_divergence(normal(z), Normal(0.0, 1.0)).mean()
    for mode in (True, False):
        torch.testing.assert_close(gaussian.train(mode)(z).losses["kl"], expected)
    standard = torch.zeros(2, 6, requires_grad=True)
    loss = gaussian(standard).losses["kl"]
    assert loss == 0
    loss.backward()
    assert standard.grad is not None
    assert not standard.grad.any()


def test_training_draws_from_the_posterior_and_lets_its_gradient_through() -> None:
    gaussian, z = Gaussian(3).double().train(), posteriors(2, 8).double()
    samples = torch.stack([gaussian(z).values for _ in range(400)])
    scores = (samples - normal(z).mean) / normal(z).stddev
    assert scores.mean(0).abs().max() < 5 / 400**0.5
    assert (scores.std(0) - 1).abs().max() < 0.2
    assert abs(scores.std().item() - 1) < 0.01
    assert scores.flatten(1).T.corrcoef().fill_diagonal_(0).abs().max() < 0.25

    leaf = z.clone().requires_grad_()
    values = gaussian(leaf).values
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    to_mean, to_log_variance = gradient.chunk(2, dim=-1)
    assert torch.equal(to_mean, torch.ones_like(to_mean))  # d(mean + exp(v / 2) noise)
    torch.testing.assert_close(to_log_variance, (values.detach() - normal(z).mean) / 2)


def test_noise_differs_by_row_and_batch_and_a_resumed_run_goes_on_exactly() -> None:
    gaussian, z = trained(), posteriors(1, 5).expand(3, -1, -1)
    first, second = gaussian(z).values, gaussian(z).values
    assert all(not torch.equal(a, b) for a, b in pairwise([*first, *second]))
    resumed = Gaussian(3)
    resumed.load_state_dict(gaussian.state_dict())
    torch.rand(7)  # the global generator plays no part
    for seed in range(3):
        expected, got = gaussian(posteriors(4, 5, seed=seed)), resumed(posteriors(4, 5, seed=seed))
        assert torch.equal(got.values, expected.values)
        assert torch.equal(got.indices, expected.indices)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in gaussian.state_dict().items())


def test_ranks_draw_what_one_process_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Gaussian(3)._noise(torch.zeros(6, 4, 4, 3))
    parts = []
    for start, count in ((0, 2), (2, 4)):
        monkeypatch.setattr(module, "place_among_ranks", lambda n, device, start=start: (start, 6))
        parts.append(Gaussian(3)._noise(torch.zeros(count, 4, 4, 3)))
    assert torch.equal(torch.cat(parts), whole)


def test_tokens_have_zero_mean_and_unit_variance_and_follow_the_encoder() -> None:
    gaussian, far = Gaussian(3).train(), torch.tensor([1.0, 20.0, 300.0, 0.0, 0.0, 0.0])
    z = posteriors(64, 50) * far + far
    gaussian(z)  # the very first batch fills the moments
    values = gaussian.encode(z).flatten(0, 1)
    torch.testing.assert_close(values.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(3), atol=1e-2, rtol=0)
    for _ in range(500):
        gaussian(z + 1)
    torch.testing.assert_close(gaussian.encode(z + 1).flatten(0, 1).mean(0), torch.zeros(3), atol=2e-2, rtol=0)


def test_an_unused_channel_stays_finite() -> None:
    gaussian, z = Gaussian(3).train(), torch.zeros(4, 5, 6)
    for _ in range(3):
        gaussian(z)
    assert gaussian.encode(z).abs().max() < 1e-3
    assert gaussian.lookup(gaussian.encode(z)).isfinite().all()


def test_only_forward_in_training_changes_state() -> None:
    gaussian, z = trained(), posteriors(4, 5)
    before = {name: value.clone() for name, value in gaussian.state_dict().items()}
    gaussian.lookup(gaussian.encode(z))
    gaussian.eval()(z)
    assert all(torch.equal(value, before[name]) for name, value in gaussian.state_dict().items())
    gaussian.train()(z)
    assert all(not torch.equal(value, before[name]) for name, value in gaussian.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision_goes_in_and_out_and_never_inside(dtype: torch.dtype) -> None:
    plain, cast, z = trained(), trained().to(dtype), posteriors(4, 5).to(dtype)
    expected = plain(z.float())
    with torch.autocast("cpu", torch.bfloat16):
        got = cast(z)
        assert torch.equal(cast.encode(z), plain.encode(z.float()))
    assert got.values.dtype == dtype
    assert torch.equal(got.values, expected.values.to(dtype))
    assert torch.equal(got.losses["kl"], expected.losses["kl"])
    assert torch.equal(cast.mean, plain.mean)


def test_extremes_are_finite() -> None:
    for value in (0.0, 1e-20, 1e3, -1e3):
        z = torch.full((4, 6), value, requires_grad=True)
        quantized = trained()(z)
        (gradient,) = torch.autograd.grad(quantized.values.sum() + quantized.losses["kl"], z)
        assert quantized.values.isfinite().all()
        assert gradient.isfinite().all()


def test_mistakes_are_named() -> None:
    for options, message in [((0,), "at least 1 number a token"), ((3, -1.0), "kl_weight >= 0; got 3, -1.0")]:
        with pytest.raises(UserError, match=message):
            Gaussian(*options)
    gaussian = trained()
    before = gaussian.mean.clone()
    spoilt = posteriors(4, 5)
    spoilt[1, 2, 0] = float("nan")
    assert gaussian(spoilt).values.isnan().all()  # its step is skipped
    for use in (gaussian.eval(), gaussian.encode):
        with pytest.raises(UserError, match="Gaussian got NaN or infinity: the encoder has diverged"):
            use(spoilt)
        with pytest.raises(UserError, match=r"Gaussian quantizes vectors of 6 numbers, got shape \(4, 3\)"):
            use(torch.zeros(4, 3))
    assert torch.equal(gaussian.mean, before)
    for wrong in (torch.zeros(4, 3, dtype=torch.int64), torch.zeros(4, 6)):
        with pytest.raises(UserError, match="looks up vectors of 3 floats, got torch"):
            gaussian.lookup(wrong)
