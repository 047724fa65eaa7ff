"""Shares of the gradient by hand, averages by hand, and the plain sum where there is nothing to balance."""

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.tokenizers.losses import Balance, Balancer


def reconstructions(rows=3, seed=0):
    return torch.randn(rows, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def balanced(balance, losses, weights, made):
    surrogate, _ = balance(losses, weights, made)
    return torch.autograd.grad(surrogate, made, retain_graph=True)[0]


def norm(gradient):
    """Of one sample's loss: losses are means over samples."""
    return len(gradient) * gradient.flatten(1).norm(dim=1).mean()


def test_each_loss_has_its_share_however_large_it_is():
    """Each loss's part of the gradient, and the whole of it, for scales that are nine orders of magnitude apart."""
    made, weights = reconstructions(), {"l1": 1.0, "mel": 3.0}
    raw = {"l1": 1e-5 * made.abs().mean(), "mel": 1e4 * made.pow(4).mean()}
    losses = {name: weights[name] * loss for name, loss in raw.items()}
    whole, parts = balanced(Balance(Balancer(norm=2.0)), losses, weights, made), {}
    for name, share in (("l1", 1 / 4), ("mel", 3 / 4)):
        (gradient,) = torch.autograd.grad(raw[name], made, retain_graph=True)
        parts[name] = 2.0 * share * gradient / norm(gradient)
        assert norm(parts[name]).item() == pytest.approx(2.0 * share, rel=1e-12)
    torch.testing.assert_close(whole, sum(parts.values()), rtol=1e-12, atol=0)


def test_one_loss_alone_is_itself_up_to_scale():
    made = reconstructions()
    loss = 0.1 * made.pow(4).mean()
    (plain,) = torch.autograd.grad(loss, made, retain_graph=True)
    whole = balanced(Balance(Balancer()), {"l2": loss}, {"l2": 0.1}, made)
    torch.testing.assert_close(whole, plain / norm(plain), rtol=1e-12, atol=0)


def test_parameters_get_the_gradient_that_the_reconstruction_gets():
    layer, x = torch.nn.Linear(4, 5).double(), torch.randn(3, 4, dtype=torch.float64)
    made = layer(x)
    surrogate, _ = Balance(Balancer())({"a": made.abs().mean(), "b": made.square().mean()}, {"a": 1, "b": 1}, made)
    gradient = torch.autograd.grad(surrogate, made, retain_graph=True)[0]
    surrogate.backward()
    torch.testing.assert_close(layer.weight.grad, gradient.T @ x)


def test_averages_look_back():
    """Norms 1, 2, 4 at decay 1/2: weights 1/4, 1/2, 1 of the three, which sum to 7/4."""
    balance, weights = Balance(Balancer(decay=0.5)), {"a": 1.0, "late": 1.0}
    for scale in (1.0, 2.0, 4.0):
        made = torch.zeros(2, 1, 3, dtype=torch.float64, requires_grad=True)
        _, norms = balance({"a": scale * made[:, 0, 0].mean()}, weights, made)
    assert norms["a"].item() == pytest.approx((1 / 4 + 2 / 2 + 4) / (7 / 4))
    _, norms = balance({"a": made[:, 0, 0].mean(), "late": 5 * made[:, 0, 1].mean()}, weights, made)
    assert norms["late"].item() == pytest.approx(5)  # measured from then on


def test_a_gradient_larger_than_usual_counts_for_more():
    made, balance = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True), Balance(Balancer(decay=0.9))
    for _ in range(50):
        usual = balanced(balance, {"a": made.sum()}, {"a": 1.0}, made)
    large = balanced(balance, {"a": 10 * made.sum()}, {"a": 1.0}, made)
    assert usual.item() == pytest.approx(1)
    assert large.item() == pytest.approx(10 / (0.9 + 0.1 * 10), rel=1e-2)


def test_batches_of_any_size_are_measured_alike():
    one, four = reconstructions(1), reconstructions(1).detach().repeat(4, 1, 1).requires_grad_()
    gradients = [balanced(Balance(Balancer()), {"a": made.pow(4).mean()}, {"a": 1.0}, made) for made in (one, four)]
    torch.testing.assert_close(gradients[1].sum(0), gradients[0][0])  # a mean over samples, as every loss is


def test_no_weight_is_no_share():
    made = reconstructions()
    losses = {"a": made.abs().mean(), "b": 0 * made.square().mean()}
    balance = Balance(Balancer())
    both = balanced(balance, losses, {"a": 1.0, "b": 0.0}, made)
    assert both.equal(balanced(Balance(Balancer()), {"a": losses["a"]}, {"a": 1.0}, made))
    assert balance.state_dict().keys() == {"a"}
    assert not balanced(Balance(Balancer()), {"b": losses["b"]}, {"b": 0.0}, made).any()


def test_where_nothing_is_wrong_nothing_is_changed():
    """A loss without gradient has norm 0, and is divided by no 0."""
    made = reconstructions()
    assert not balanced(Balance(Balancer()), {"a": (0 * made).square().mean()}, {"a": 1.0}, made).any()


def test_reconstructions_of_16_bits_are_measured_in_32():
    made = torch.randn(2, 1, 300).bfloat16().requires_grad_()
    surrogate, norms = Balance(Balancer())({"a": made.float().abs().mean()}, {"a": 1.0}, made)
    assert norms["a"].dtype == torch.float32
    assert torch.autograd.grad(surrogate, made)[0].dtype == torch.bfloat16


def test_a_restored_balance_goes_on_bit_for_bit():
    def steps(balance, seeds):
        for seed in seeds:
            made = reconstructions(seed=seed)
            gradient = balanced(balance, {"a": made.abs().mean(), "b": made.pow(4).mean()}, {"a": 1, "b": 2}, made)
        return gradient

    whole, first, second = (Balance(Balancer(decay=0.7)) for _ in range(3))
    steps(first, (0, 1))
    second.load_state_dict(first.state_dict())
    assert steps(whole, range(4)).equal(steps(second, (2, 3)))


@pytest.mark.parametrize("options", [{"decay": 1.0}, {"decay": -0.1}, {"norm": 0.0}])
def test_what_cannot_be_is_told(options):
    with pytest.raises(UserError, match="decay must lie in"):
        Balancer(**options)
