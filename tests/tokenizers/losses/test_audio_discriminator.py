"""What each network hears, that a sound is judged alone, and the distance of features by hand."""

import math

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.tokenizers.losses import (
    Adversarial,
    Discriminator,
    Discriminators,
    MultiPeriod,
    MultiSTFT,
    PatchGAN,
    Verdict,
    feature_matching,
)
from mmgen.training.adversarial import Adversary
from tests.training.sounds import tiny

SMALL = {
    "period": lambda: MultiPeriod(2, [2, 3, 5]),
    "stft": lambda: MultiSTFT(2, [64, 16]),
    "both": lambda: Discriminators([MultiPeriod(1, [2, 3]), MultiSTFT(2, [32])]),
}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=SMALL)
def net(request):
    torch.manual_seed(0)
    return SMALL[request.param]().double()


def test_a_sound_is_judged_alone(net):
    x = noise(3, 1, 200)
    alone = torch.cat([net(each) for each in x.split(1)])
    torch.testing.assert_close(net(x), alone, rtol=0, atol=1e-12)
    assert net(x).shape[0] == 3


@pytest.mark.parametrize("samples", [1, 2, 11, 63, 320])
def test_a_sound_may_have_any_length(net, samples):
    assert net(noise(1, 1, samples)).isfinite().all()


def test_there_are_features_of_every_layer_but_the_last(net):
    x = noise(2, 1, 200)
    for verdict in net.verdicts(x):
        assert len(verdict.features) == 5
        assert all(len(each) == 2 for each in (verdict.logits, *verdict.features))


def test_every_network_is_trained_and_so_is_the_sound(net):
    x = noise(2, 1, 200).requires_grad_()
    sum(each.logits.square().mean() for each in net.verdicts(x)).backward()
    assert x.grad.abs().sum() > 0
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())


def test_halves_are_those_of_the_samples(net):
    x = noise(4, 1, 100)
    for verdict, first, last in zip(net.verdicts(x), net.verdicts(x[:2]), net.verdicts(x[2:]), strict=True):
        for half, wanted in zip(verdict.halves(), (first, last), strict=True):
            torch.testing.assert_close(half.logits, wanted.logits)
            torch.testing.assert_close(half.features, wanted.features)


def test_a_logit_of_a_period_hears_one_phase_of_it():
    """Of column c it hears samples c, c + p, c + 2 p, ... and no others."""
    period = 5
    (verdict,) = MultiPeriod(2, [period]).double().verdicts(x := noise(1, 1, 203).requires_grad_())
    for column in range(period):
        (gradient,) = torch.autograd.grad(verdict.logits[0, 0, :, column].sum(), x, retain_graph=True)
        heard = gradient[0, 0].nonzero().flatten()
        assert len(heard) and (heard % period == column).all()


def test_periods_that_are_published_have_the_published_size():
    """32-128-512-1024-1024-1 channels, kernels of 5 and 3, strides of 3 (HiFi-GAN): 41.1 million numbers."""
    with torch.device("meta"):
        net = MultiPeriod(32)
    assert [part.out_channels for part in net.judges[0].net] == [32, 128, 512, 1024, 1024, 1]
    assert [part.kernel_size for part in net.judges[0].net] == [(5, 1)] * 5 + [(3, 1)]
    assert [part.stride for part in net.judges[0].net] == [(3, 1)] * 4 + [(1, 1)] * 2
    assert sum(each.numel() for each in net.parameters()) == pytest.approx(41.1e6, rel=1e-3)


def test_spectra_that_are_published_have_the_published_shape():
    """32 channels, kernels of 3 x 9, time dilated by 1, 2 and 4 while frequencies are halved (EnCodec, figure 2)."""
    net = MultiSTFT(32, [128]).judges[0].net
    assert [part.out_channels for part in net] == [32] * 5 + [1]
    assert [part.kernel_size for part in net] == [(3, 9)] * 4 + [(3, 3)] * 2
    assert [part.dilation for part in net] == [(1, 1), (1, 1), (2, 1), (4, 1), (1, 1), (1, 1)]
    assert [part.stride for part in net] == [(1, 1)] + [(1, 2)] * 3 + [(1, 1)] * 2


def test_a_spectrum_is_complex_and_of_unit_energy():
    """A wave lies in its bin, and its phase in the two channels; white noise of unit power has unit power in a bin."""
    picture = MultiSTFT(1, [64]).judges[0].picture
    wave = torch.cos(2 * math.pi * 8 * torch.arange(640, dtype=torch.float64) / 64)[None, None]
    found, turned = (picture(each)[0, :, 20] for each in (wave, -wave))
    assert picture(wave).shape == (1, 2, 41, 33)
    assert found.square().sum(0).argmax() == 8
    torch.testing.assert_close(found, -turned)
    assert picture(noise(1, 1, 100_000)).square().sum(1).mean().item() == pytest.approx(1, rel=2e-2)


def test_spectra_are_made_in_32_bits():
    """Under autocast, and of a discriminator of 16 bits, which then gets its own type."""
    picture, x = MultiSTFT(1, [64]).judges[0].picture, noise(1, 1, 640).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert picture(x).dtype == torch.float32
    assert picture(x.bfloat16()).dtype == torch.bfloat16
    assert MultiSTFT(1, [64]).bfloat16()(x.bfloat16()).isfinite().all()


def test_several_discriminators_are_all_of_them():
    parts = [MultiPeriod(1, [2, 3]), MultiSTFT(1, [32])]
    x = noise(2, 1, 100).float()
    together = Discriminators(parts)
    alone = [verdict.logits for part in parts for verdict in part.verdicts(x)]
    assert [each.logits.equal(other) for each, other in zip(together.verdicts(x), alone, strict=True)] == [True] * 3
    assert together(x).equal(torch.cat([each.flatten(1) for each in alone], 1))


def test_making_a_discriminator_draws_no_number_of_the_tokenizers():
    before = torch.get_rng_state()
    for make in SMALL.values():
        make()
    assert torch.get_rng_state().equal(before)


def verdict(*features):
    return Verdict(torch.zeros(2, 1), [torch.tensor(each, dtype=torch.float64) for each in features])


def test_matching_is_relative_to_each_sample_and_a_mean_over_layers():
    real = [verdict([[2.0, -2.0], [10.0, 30.0]], [[1.0], [1.0]])]
    made = [verdict([[2.0, -1.0], [20.0, 30.0]], [[1.0], [3.0]])]
    layers = [(0.5 / 2 + 5 / 20) / 2, (0 + 2) / 2]
    assert feature_matching(real, made).item() == pytest.approx(sum(layers) / 2)
    assert feature_matching(real, real).item() == 0


def test_matching_moves_the_made_and_not_the_real():
    real, made = (noise(2, 3, seed=seed).requires_grad_() for seed in (0, 1))
    feature_matching([Verdict(real, [real])], [Verdict(made, [made])]).backward()
    assert made.grad.abs().sum() > 0 and real.grad is None


def test_matching_of_sounds_grows_with_their_distance(net):
    x, wind = noise(2, 1, 200, seed=1), noise(2, 1, 200, seed=2)
    real = net.verdicts(x)
    distances = [feature_matching(real, net.verdicts(x + amount * wind)).item() for amount in (0.0, 0.1, 0.3, 1.0)]
    assert distances[0] == 0
    assert distances == sorted(set(distances))


def test_images_have_features_too():
    net = PatchGAN(1, width=4, layers=2)
    (verdict,) = net.verdicts(x := torch.zeros(2, 1, 16, 16))
    assert verdict.logits.equal(net(x))
    assert [each.shape[1] for each in verdict.features] == [4, 8, 16]


class Mute(Discriminator):
    def verdicts(self, x):
        return [Verdict(x, [])]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: MultiPeriod(0), "width of at least 1"),
        (lambda: MultiPeriod(2, []), "periods of at least 1"),
        (lambda: MultiSTFT(2, [2]), "windows of at least 4"),
        (lambda: Discriminators([]), "at least one"),
        (lambda: MultiPeriod(1, [2])(torch.zeros(2, 1, 8, 8)), r"sounds .* got \(2, 1, 8, 8\)"),
        (lambda: MultiSTFT(1, [8])(torch.zeros(2, 2, 8)), r"sounds .* got \(2, 2, 8\)"),
        (lambda: Adversarial(MultiPeriod(1), start=0, feature_matching=-1.0), "at least 0"),
        (lambda: Adversary(Adversarial(Mute(), 0, adaptive=False, feature_matching=1.0), tiny()), "has none"),
        (lambda: Adversary(Adversarial(PatchGAN(1), 0, adaptive=False), tiny()), "judges images"),
    ],
)
def test_what_cannot_be_is_told(make, told):
    with pytest.raises(UserError, match=told) as error:
        make()
    assert "\n" not in str(error.value)
