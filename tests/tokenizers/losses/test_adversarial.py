"""The game's losses in closed form, its balance by hand, and what a patch is."""

import math

import pytest
import torch
from torch import nn

from mmgen.core.errors import UserError
from mmgen.tokenizers.losses import Adversarial, PatchGAN, adaptive_weight, discriminator_loss, generator_loss


def test_hinge_losses_are_their_closed_forms():
    real, made = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    assert generator_loss(made, "hinge").item() == pytest.approx(2 / 3)
    assert discriminator_loss(real, made, "hinge").item() == pytest.approx(((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3) / 2)


def test_non_saturating_losses_are_cross_entropies():
    real, made = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = (-real.sigmoid().log().mean() - (1 - made.sigmoid()).log().mean()) / 2
    torch.testing.assert_close(discriminator_loss(real, made, "non_saturating"), wanted)
    torch.testing.assert_close(generator_loss(made, "non_saturating"), -made.sigmoid().log().mean())


def test_least_squares_are_distances_to_one_and_zero():
    real, made = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])
    assert generator_loss(made, "least_squares").item() == pytest.approx((16 + 0) / 2)
    assert discriminator_loss(real, made, "least_squares").item() == pytest.approx(((1 + 0.25) / 2 + (9 + 1) / 2) / 2)
    half = torch.full((4,), 0.5)  # best where nothing is known
    assert discriminator_loss(half, half, "least_squares").item() == pytest.approx(1 / 4)
    assert discriminator_loss(half * 2, half * 0, "least_squares").item() == 0


@pytest.mark.parametrize(("game", "chance"), [("hinge", 1.0), ("non_saturating", math.log(2))])
def test_a_discriminator_that_knows_nothing_has_the_loss_of_chance_and_one_that_has_won_none(game, chance):
    zero = torch.zeros(4)
    assert discriminator_loss(zero, zero, game).item() == pytest.approx(chance)
    assert discriminator_loss(zero + 50, zero - 50, game).item() == pytest.approx(0)


@pytest.mark.parametrize("game", ["hinge", "non_saturating", "least_squares"])
def test_logits_of_16_bits_are_summed_in_32(game):
    logits = torch.full((3001,), 0.1, dtype=torch.bfloat16)
    for loss in (generator_loss(logits, game), discriminator_loss(logits, logits, game)):
        assert loss.dtype == torch.float32


@pytest.mark.parametrize("game", ["hinge", "non_saturating", "least_squares"])
def test_the_two_sides_pull_apart(game):
    """The tokenizer raises the logits of its reconstructions, the discriminator lowers them."""
    made = torch.full((3,), 0.5, requires_grad=True)
    (up,) = torch.autograd.grad(generator_loss(made, game), made)
    (down,) = torch.autograd.grad(discriminator_loss(torch.zeros(3), made, game), made)
    assert (up < 0).all()
    assert (down > 0).all()


def test_the_balance_is_the_ratio_of_gradients():
    """y = w x with reconstruction (y - t)^2 and adversarial 3 y: |2 (w x - t) x| / |3 x|, by hand."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    y = layer(torch.tensor([[1.5]]))
    weight = adaptive_weight((y - 1).square().sum(), 3 * y.sum(), layer.weight)
    assert weight.item() == pytest.approx(abs(2 * (2 * 1.5 - 1) * 1.5) / (3 * 1.5 + 1e-4), rel=1e-6)
    assert not weight.requires_grad
    assert layer.weight.grad is None
    (y.sum() * weight).backward()  # the graph is still there


def test_the_balance_ends_where_the_discriminator_says_nothing():
    layer = nn.Linear(1, 1, bias=False)
    y = layer(torch.ones(1, 1))
    assert adaptive_weight(1e6 * y.sum(), 0 * y.sum(), layer.weight).item() == 1e4
    assert adaptive_weight(0 * y.sum(), y.sum(), layer.weight).item() == 0


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])  # Isola et al. 2017, appendix 6.1.2
def test_a_logit_looks_at_its_patch_and_at_nothing_else(layers, field):
    net = PatchGAN(1, width=4, layers=layers, norm="none").double()
    side = field + 2 * 2**layers * 3
    x = torch.randn(1, 1, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = net(x)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == field

    moved = x.detach().clone()
    moved[:, :, : rows[0]] += 1  # all above the patch
    moved[:, :, :, rows[-1] + 1 :] -= 1  # all on its right
    assert net(moved)[0, 0, middle, middle].equal(logits[0, 0, middle, middle])
    moved[:, :, rows[0] : rows[-1] + 1] += 1
    assert not net(moved)[0, 0, middle, middle].equal(logits[0, 0, middle, middle])


@pytest.mark.parametrize("norm", ["group", "none"])
def test_a_sample_is_judged_alone(norm):
    net = PatchGAN(3, width=8, layers=2, norm=norm).double()
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(x), torch.cat([net(each) for each in x.split(1)]), rtol=0, atol=1e-12)


def test_the_default_is_the_published_shape():
    """64-128-256-512-1 channels, kernels of 4, strides 2-2-2-1-1 (Isola et al. 2017; VQGAN's NLayerDiscriminator)."""
    layers = [each for each in PatchGAN().net if isinstance(each, nn.Conv2d)]
    assert [each.out_channels for each in layers] == [64, 128, 256, 512, 1]
    assert [each.stride[0] for each in layers] == [2, 2, 2, 1, 1]
    assert {each.kernel_size for each in layers} == {(4, 4)}


def test_the_smallest_image_has_one_logit():
    for layers in (1, 2, 3):
        net = PatchGAN(1, width=2, layers=layers, norm="none")
        assert net(torch.zeros(1, 1, net.smallest, net.smallest)).shape == (1, 1, 1, 1)
        with pytest.raises(UserError, match="fewer layers"):
            net(torch.zeros(1, 1, net.smallest - 1, net.smallest))


def test_making_a_discriminator_draws_no_number_of_the_tokenizers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    PatchGAN(width=4)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: PatchGAN(0), "at least 1"),
        (lambda: PatchGAN(3, width=2, layers=1)(torch.zeros(1, 1, 28, 28)), r"3 channels .* got \(1, 28, 28\)"),
        (lambda: PatchGAN(3, width=2, layers=1)(torch.zeros(1, 3, 2, 28, 28)), r"got \(3, 2, 28, 28\)"),
        (lambda: Adversarial(PatchGAN(width=2), start=-1), "at least 0"),
        (lambda: Adversarial(PatchGAN(width=2), start=0, weight=-1.0), "at least 0"),
    ],
)
def test_what_cannot_be_is_told(make, told):
    with pytest.raises(UserError, match=told) as error:
        make()
    assert "\n" not in str(error.value)
