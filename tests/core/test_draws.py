"""Draws: numbers that depend on their key alone, and are random enough."""

import math
import zlib

import pytest
import torch
from torch import Tensor

from mmgen.core.draws import Draws

WORD, GOLDEN_RATIO = 2**64, 0x9E3779B97F4A7C15
GOLDEN = [0.4232448715423226, 0.8612195095166932]  # seed 0, epoch 0, sample 0, name "time"


def oracle(seed: int, epoch: int, sample: int, name: str, count: int) -> list[float]:
    """The generator in plain integers: SplitMix64's finaliser over a key and a counter."""

    def mix(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
        return x ^ (x >> 31)

    key = mix((seed + GOLDEN_RATIO) % WORD)
    for part in (epoch, sample, zlib.crc32(name.encode())):
        key = mix((key + GOLDEN_RATIO) % WORD ^ part)
    return [(mix((key + n * GOLDEN_RATIO) % WORD) >> 11) / 2**53 for n in range(1, count + 1)]


def draws(*samples: int, seed: int = 7, epoch: int | Tensor = 3) -> Draws:
    return Draws(seed, torch.tensor(samples), epoch)


@pytest.mark.parametrize("seed", [0, 7, -5, 2**62])
def test_numbers_are_those_of_the_oracle(seed: int) -> None:
    """A change of the generator would change every resumed run and every recorded figure."""
    drawn = draws(0, 12345, 2**40, seed=seed).uniform("time", 4)
    for row, sample in zip(drawn.tolist(), (0, 12345, 2**40), strict=True):
        assert row == oracle(seed, 3, sample, "time", 4)


def test_first_numbers_of_the_generator_never_change() -> None:
    assert draws(0, seed=0, epoch=0).uniform("time", 2).tolist() == [oracle(0, 0, 0, "time", 2)]
    assert oracle(0, 0, 0, "time", 2) == GOLDEN


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    whole = draws(5, 9, 2, 40).uniform("hidden", 3, 4)
    assert torch.equal(draws(2, 5).uniform("hidden", 3, 4), whole[[2, 0]])
    assert torch.equal(draws(5, 9, 2, 40).rows(torch.tensor([3, 1])).uniform("hidden", 3, 4), whole[[3, 1]])
    assert torch.equal(
        draws(5, 9, 2, 40).rows(torch.tensor([True, False, True, False])).uniform("hidden", 3, 4), whole[[0, 2]]
    )


def test_epochs_may_differ_by_row() -> None:
    mixed = draws(5, 9, 2, epoch=torch.tensor([1, 0, 1]))
    assert torch.equal(mixed.uniform("a", 3)[[0, 2]], draws(5, 2, epoch=1).uniform("a", 3))
    assert torch.equal(mixed.rows(torch.tensor([1])).uniform("a", 3), draws(9, epoch=0).uniform("a", 3))


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    assert torch.equal(draws(1, 2).uniform("a", 9)[:, :5], draws(1, 2).uniform("a", 5))
    assert torch.equal(draws(1, 2).uniform("a", 9, 2)[:, :5], draws(1, 2).uniform("a", 5, 2))
    assert torch.equal(draws(1, 2).uniform("a"), draws(1, 2).uniform("a", 1)[:, 0])


@pytest.mark.parametrize("kind", ["uniform", "normal", "gumbel"])
def test_drawing_twice_gives_the_same_and_leaves_torch_alone(kind: str) -> None:
    before = torch.get_rng_state()
    first = getattr(draws(1, 2, 3), kind)("a", 10)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert torch.equal(getattr(draws(1, 2, 3), kind)("a", 10), first)


@pytest.mark.parametrize("other", [dict(seed=8), dict(epoch=4), dict(name="b"), dict(sample=2)], ids=str)
def test_every_part_of_the_key_makes_another_stream(other: dict) -> None:
    """Neighbouring keys, 20,000 numbers: uncorrelated, and no number in common."""
    base = dict(seed=7, epoch=3, name="a", sample=1)

    def stream(seed: int, epoch: int, name: str, sample: int) -> Tensor:
        return draws(sample, seed=seed, epoch=epoch).uniform(name, 20_000)[0]

    a, b = stream(**base), stream(**(base | other))
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 4 / math.sqrt(20_000)
    assert not torch.isin(a, b).any()


def test_no_two_keys_of_a_run_share_a_stream() -> None:
    """Small seeds, epochs and sample numbers, which a careless mixture of the three lets collide."""
    epochs, samples = torch.arange(64).repeat_interleave(64), torch.arange(64).repeat(64)
    firsts = torch.cat([Draws(seed, samples, epochs).uniform("a") for seed in range(64)])
    assert len(firsts.unique()) == 64**3


def chi_square(counts: Tensor) -> float:
    expected = counts.sum() / counts.numel()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize(
    "numbers",
    [
        draws(0).uniform("a", 64_000),  # along one stream
        draws(*range(64_000)).uniform("a"),  # across samples
        Draws(0, torch.zeros(64_000, dtype=torch.int64), torch.arange(64_000)).uniform("a"),  # across epochs
    ],
    ids=["stream", "samples", "epochs"],
)
def test_numbers_are_uniform_and_neighbours_independent(numbers: Tensor) -> None:
    numbers = numbers.flatten()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Chi-square with 63 degrees of freedom: mean 63, deviation 11.2; the bounds are at 4 deviations either side.
    assert 25 < chi_square(torch.bincount((numbers * 64).long(), minlength=64).double()) < 108
    pairs = (numbers[0::2] * 8).long() * 8 + (numbers[1::2] * 8).long()
    assert 25 < chi_square(torch.bincount(pairs, minlength=64).double()) < 108


def test_low_bits_are_random_too() -> None:
    bits = (draws(*range(500)).uniform("a", 100) * 2.0**53).long()
    shares = torch.stack([((bits >> place) & 1).double().mean() for place in range(53)])
    assert (shares - 0.5).abs().max() < 5 * 0.5 / math.sqrt(bits.numel())


def test_moments_of_normal_and_gumbel() -> None:
    normal, gumbel = draws(*range(100)).normal("a", 2000), draws(*range(100)).gumbel("a", 2000)
    error = 1 / math.sqrt(normal.numel())
    assert abs(normal.mean()) < 4 * error
    assert abs(normal.var() - 1) < 4 * math.sqrt(2) * error
    assert abs((normal**4).mean() - 3) < 4 * math.sqrt(96) * error
    assert abs(gumbel.mean() - 0.5772156649) < 4 * math.pi / math.sqrt(6) * error
    assert abs(gumbel.var() - math.pi**2 / 6) < 0.03
    assert normal.isfinite().all()
    assert gumbel.isfinite().all()


def test_extreme_uniforms_stay_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = torch.tensor([[0.0, 1 - 2.0**-53]], dtype=torch.float64)
    monkeypatch.setattr(Draws, "uniform", lambda self, name, *shape: ends)
    assert draws(0).normal("a", 2).isfinite().all()
    assert draws(0).gumbel("a", 2).isfinite().all()
