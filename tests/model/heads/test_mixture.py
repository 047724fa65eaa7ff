import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads import GaussianMixtureHead
from mmgen.paradigms import Decoding


def head(size: int = 1, components: int = 3) -> GaussianMixtureHead:
    torch.manual_seed(0)
    return GaussianMixtureHead(TokenSpec("continuous", size, (1, 2, 2)), 8, components).double()


def test_the_density_integrates_to_one_and_is_what_is_drawn() -> None:
    """The share of draws below each point is the integral of exp(-nats) up to it."""
    model, features = head(), torch.randn(8, dtype=torch.float64)
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    density = (-model.nats(features.expand(len(grid), -1), grid[:, None])).exp()
    below = torch.cumulative_trapezoid(density, grid)
    assert abs(below[-1].item() - 1) < 1e-4
    count = 20000
    drawn = model.draw(model.predict(features).expand(count, -1, -1), Decoding(), torch.rand(count, 2).double())
    empirical = torch.searchsorted(drawn[:, 0].sort().values, grid[1:]) / count
    assert (empirical - below).abs().max() < 1.95 / count**0.5  # Kolmogorov-Smirnov at 0.1%


def test_channels_add_up_and_temperature_zero_is_the_likeliest_mean() -> None:
    model, features = head(size=2, components=1), torch.randn(5, 8, dtype=torch.float64)
    mean = model.predict(features)[:, 0, 1:3]
    chance = torch.rand(5, 3).double()
    assert torch.equal(model.draw(model.predict(features), Decoding(temperature=0.0), chance), mean)
    first, second = (mean + torch.tensor(step).double() for step in ([0.3, 0.0], [0.0, 0.7]))
    both = mean + torch.tensor([0.3, 0.7]).double()
    at = model.nats(features, mean)
    assert torch.allclose(
        model.nats(features, both) - at, model.nats(features, first) + model.nats(features, second) - 2 * at
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianMixtureHead(TokenSpec("bits", 3, (1, 2, 2)), 8), "is for continuous tokens"),
        (lambda: head(components=0), "components 0 must be at least 1"),
        (lambda: head().guide(torch.zeros(1), torch.zeros(1), 2.0), "sample with --cfg 1"),
    ],
)
def test_what_is_wrong_is_refused(make, message) -> None:
    with pytest.raises(UserError, match=message):
        make()
