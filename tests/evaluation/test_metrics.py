"""Law 9: a set against itself gives 0 or 1, and a known degradation is ordered rightly."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.metrics import (
    decibel,
    fid,
    kid,
    precision_recall,
    squared_errors,
    ssim,
)
from tests.evaluation.clips import moving, noisy, normal


def blobs(count: int = 96, seed: int = 0) -> Tensor:
    """(count, 1, 16, 16) smooth images in [-1, 1], each another."""
    return moving(count, 1, seed)[:, :, 0].double()


def blurred(x: Tensor, strength: float) -> Tensor:
    """Mixed with its 5 x 5 average."""
    return torch.lerp(x, F.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False), strength)


def pixels(x: Tensor) -> Tensor:
    """Features of 64 cells."""
    return F.avg_pool2d(x, 2).flatten(1)


DEGRADATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {"noise": noisy, "blur": blurred}
STRENGTHS = (0.0, 0.2, 0.5, 1.0)


def psnr_ssim(decoded: Tensor, originals: Tensor) -> tuple[float, float]:
    return decibel(squared_errors(decoded, originals).mean()).item(), ssim(decoded, originals).mean().item()


def strictly_falling(values: list[float]) -> bool:
    return all(a > b for a, b in zip(values, values[1:]))


@pytest.mark.parametrize("degrade", DEGRADATIONS.values(), ids=DEGRADATIONS)
def test_reconstruction_metrics_fall_with_each_degradation(degrade: Callable[[Tensor, float], Tensor]) -> None:
    psnr, similarity = zip(*[psnr_ssim(degrade(blobs(), strength), blobs()) for strength in STRENGTHS])
    assert math.isinf(psnr[0]) and similarity[0] == pytest.approx(1, abs=1e-6)
    assert strictly_falling(list(psnr)) and strictly_falling(list(similarity))


def test_they_are_those_of_torchmetrics() -> None:
    decoded, originals = ((x.float() + 1) / 2 for x in (noisy(blobs(), 0.3), blobs()))
    psnr, similarity = psnr_ssim(2 * decoded - 1, 2 * originals - 1)
    assert psnr == pytest.approx(PeakSignalNoiseRatio(data_range=1.0)(decoded, originals).item(), rel=1e-5)
    peer = StructuralSimilarityIndexMeasure(data_range=1.0)(decoded, originals)
    assert similarity == pytest.approx(float(peer), rel=1e-5)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(UserError, match="11 pixels"):
        psnr_ssim(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))


def test_feature_sets_against_themselves() -> None:
    features = pixels(blobs())
    assert fid(features, features) == pytest.approx(0, abs=1e-6)
    assert precision_recall(features, features) == (1, 1)
    largest = (features.square().mean(1) + 1).pow(3).mean().item()  # k(x, x)
    assert -2 / len(features) * largest < kid(features, features) < 0  # nothing but the pairs that it leaves out


def test_kid_is_zero_in_expectation_for_two_draws_from_one_distribution() -> None:
    draws = [kid(normal(64, 4, seed=2 * trial), normal(64, 4, seed=2 * trial + 1)) for trial in range(20)]
    mean, spread = torch.tensor(draws).mean(), torch.tensor(draws).std() / 20**0.5
    assert abs(mean) < 3 * spread
    assert spread < 0.05  # else the line above would say nothing
    assert kid(normal(64, 4), normal(64, 4, seed=1) + 0.5) > 5 * spread


@pytest.mark.parametrize("degrade", DEGRADATIONS.values(), ids=DEGRADATIONS)
def test_distances_grow_with_each_degradation(degrade: Callable[[Tensor, float], Tensor]) -> None:
    sets = [pixels(degrade(blobs(), strength)) for strength in STRENGTHS]
    for metric in (fid, kid):
        assert strictly_falling([-metric(sets[0], fake) for fake in sets]), metric


def test_precision_falls_with_noise_and_recall_with_lost_modes() -> None:
    real, source = normal(300, 8), normal(300, 8, seed=1)
    noise = [source + strength * normal(300, 8, seed=2) for strength in (0, 1, 2, 4)]
    assert strictly_falling([precision_recall(real, fake)[0] for fake in noise])
    narrower = [source * scale for scale in (1, 0.7, 0.4, 0.1)]
    assert strictly_falling([precision_recall(real, fake)[1] for fake in narrower])
    assert precision_recall(real, narrower[-1])[0] == 1  # the mean of the data is typical of it


def test_precision_and_recall_equal_a_count_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])  # second neighbours at 3, 2, 3, 6
    fake = torch.tensor([[-3.0], [-3.5], [13.0], [13.5]])  # second neighbours at 16, 16.5, 16, 16.5
    assert precision_recall(real, fake, neighbours=2) == (0.5, 1.0)
    assert precision_recall(fake, real, neighbours=2) == (1.0, 0.5)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_fid_of_gaussians_is_the_closed_form(dimensions: int) -> None:
    """Exactly for the sample moments; and these are the true ones, as their rotation and scale is chosen."""
    spread_a, spread_b = torch.linspace(0.5, 2, dimensions).double(), torch.linspace(1.5, 0.3, dimensions).double()
    shift = torch.linspace(1, -2, dimensions).double()

    def whitened(seed: int) -> Tensor:
        x = normal(200, dimensions, seed=seed)
        x = x - x.mean(0)
        return torch.linalg.solve_triangular(torch.linalg.cholesky(x.T @ x / 199), x.T, upper=False).T

    a, b = whitened(0) * spread_a, whitened(1) * spread_b + shift
    expected = (shift.square() + (spread_a - spread_b).square()).sum().item()  # diagonal covariances
    assert fid(a, b) == pytest.approx(expected, rel=1e-6)
    turn = torch.linalg.qr(normal(dimensions, dimensions, seed=3))[0]
    assert fid(a @ turn, b @ turn) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", [fid, kid, precision_recall], ids=lambda metric: metric.__name__)
def test_order_and_precision_of_features_do_not_matter(metric: Callable[[Tensor, Tensor], float]) -> None:
    real, fake = pixels(blobs()), pixels(noisy(blobs(seed=1), 0.3))
    order = Draws(0, torch.arange(len(real))).uniform("order").argsort()
    assert metric(real[order], fake[order.flip(0)]) == pytest.approx(metric(real, fake), rel=1e-5)
    assert metric(real.float(), fake.float()) == pytest.approx(metric(real, fake), rel=1e-4)


def test_kid_of_unequal_sets_is_keyed_by_its_seed_and_leaves_the_global_generator_alone() -> None:
    real, fake = pixels(blobs()), pixels(noisy(blobs(60, seed=1), 0.3))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = kid(real, fake, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert kid(real, fake, seed=1) == first != kid(real, fake, seed=2)


@pytest.mark.parametrize(("samples", "features"), [(40, 7), (12, 30)], ids=["more samples", "more features"])
def test_fid_is_that_of_torchmetrics(samples: int, features: int) -> None:
    """Where that is exact: with as many samples as features its eigenvalues near 0 are noise."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Identity(torch.nn.Identity):
        num_features = features

    real, fake = normal(samples, features), 0.7 * normal(samples + 5, features, seed=1) + 0.2
    peer = FrechetInceptionDistance(feature=Identity())
    peer.update(real, real=True)
    peer.update(fake, real=False)
    assert fid(real, fake) == pytest.approx(peer.compute().item(), rel=1e-4)
