"""Noise processes agree with diffusers' schedulers, and a perfect denoiser leads from noise to the data."""

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from mmgen.core.errors import UserError
from mmgen.core.layout import Role
from mmgen.paradigms import DDPM, ContinuousBlockDiffusion, Flow, NoiseProcess, Tiles
from tests.worlds import SPECS, condition_of, draws, generator, tokens_for

SOURCE = torch.Generator().manual_seed(0)
DATA, NOISE = (torch.randn(6, 4, 3, generator=SOURCE, dtype=torch.float64) for _ in range(2))
PROCESSES = {
    f"{kind.__name__.lower()}-{prediction}": kind(prediction)
    for kind in (Flow, DDPM)
    for prediction in ("velocity", "epsilon", "x0")
    if not (kind is Flow and prediction == "epsilon")
}
processes = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_ddpm_noises_and_aims_as_diffusers_does(betas) -> None:
    peer, steps = DDPMScheduler(beta_schedule=betas), torch.tensor([0, 1, 250, 500, 998, 999])
    process = DDPM("velocity", betas)
    level = ((steps + 1) / 1000).double()[:, None, None]
    torch.testing.assert_close(process.corrupt(DATA, NOISE, level), peer.add_noise(DATA, NOISE, steps))
    torch.testing.assert_close(process.target(DATA, NOISE, level), peer.get_velocity(DATA, NOISE, steps))


def test_ddpm_trains_on_each_of_its_thousand_steps() -> None:
    levels = DDPM().levels(torch.arange(1000, dtype=torch.float64) / 1000)
    assert torch.equal((levels * 1000).round().long(), torch.arange(1, 1001))


def test_flow_noises_as_diffusers_does() -> None:
    peer = FlowMatchEulerDiscreteScheduler()
    peer.set_timesteps(4)
    for index, t in enumerate(peer.timesteps):
        level = peer.sigmas[index].double()
        torch.testing.assert_close(
            Flow().corrupt(DATA, NOISE, level), peer.scale_noise(DATA, t[None], NOISE), check_dtype=False
        )


@processes
def test_the_velocity_is_the_derivative_along_the_path(process: NoiseProcess) -> None:
    """Of data cos(phi) + noise sin(phi) by phi for DDPM, by the level itself for flow; here by a small rotation."""
    if isinstance(process, Flow):
        low, high = (process.corrupt(DATA, NOISE, torch.tensor(t, dtype=torch.float64)) for t in (0.3, 0.3001))
        torch.testing.assert_close((high - low) / 1e-4, process.velocity(DATA, NOISE, torch.tensor(0.3)))
    else:
        level = torch.tensor(0.3, dtype=torch.float64)
        a, b = process.scales(level)
        torch.testing.assert_close(a**2 + b**2, torch.ones_like(a))
        turned = process.corrupt(DATA, NOISE, level) + 1e-6 * process.velocity(DATA, NOISE, level)
        angle = torch.atan2(b, a) + 1e-6
        torch.testing.assert_close(turned, DATA * angle.cos() + NOISE * angle.sin())


@processes
@pytest.mark.parametrize("steps", [1, 2, 7, 25])
def test_a_perfect_denoiser_of_one_point_finds_it(process: NoiseProcess, steps: int) -> None:
    """With one point as the data the best prediction is known at every level, and any number of steps leads there."""
    solver = process.solver(steps)
    assert len(solver.levels) == steps and sorted(solver.levels, reverse=True) == solver.levels
    x = process.corrupt(DATA, NOISE, torch.tensor(solver.levels[0], dtype=torch.float64))
    for index, level in enumerate(solver.levels):
        t = torch.tensor(level, dtype=torch.float64)
        a, b = process.scales(t)
        x = solver.step(process.target(DATA, (x - a * DATA) / b, t), index, x)
    torch.testing.assert_close(x, DATA, atol=3e-3, rtol=1e-3)


@processes
def test_a_gaussian_keeps_its_mean_and_width(process: NoiseProcess) -> None:
    """Data N(m, s^2): the best prediction is linear in x, and many steps carry N(0, 1) over to it."""
    mean, width = 1.5, 0.5
    solver, x = process.solver(100), torch.randn(20000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for index, level in enumerate(solver.levels):
        t = torch.tensor(level, dtype=torch.float64)
        a, b = process.scales(t)
        gain = a * width**2 / (a**2 * width**2 + b**2)
        data = mean + gain * (x - a * mean)
        noise = (x - a * data) / b
        x = solver.step(process.target(data, noise, t), index, x)
    assert abs(x.mean() - mean) < 0.03 and abs(x.std() - width) < 0.03


def test_shift_moves_the_levels_towards_noise() -> None:
    plain, shifted = Flow().solver(8).levels, Flow(shift=3.0).solver(8).levels
    assert shifted[0] == plain[0] == 1 and all(b > a for a, b in zip(plain[1:], shifted[1:]))
    torch.testing.assert_close(torch.tensor(shifted), torch.tensor([3 * t / (1 + 2 * t) for t in plain]))


def test_logit_normal_levels_prefer_the_middle() -> None:
    uniform = torch.rand(20000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = Flow(density="logit_normal").levels(uniform)
    torch.testing.assert_close(levels.logit().std(), torch.tensor(1.0, dtype=torch.float64), atol=0.02, rtol=0)
    assert ((levels > 0.25) & (levels < 0.75)).double().mean() > 0.7


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ContinuousBlockDiffusion(Tiles(0), Flow()), "at least 1"),
        (lambda: ContinuousBlockDiffusion(0, Flow()), "at least 1"),
        (lambda: ContinuousBlockDiffusion(4, Flow(), steps=0), "at least 1"),
        (lambda: Flow(shift=0.0), "positive"),
    ],
)
def test_bad_settings_are_refused(make, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        make()


def test_a_history_may_know_no_class() -> None:
    """ACDiT's clean tokens: what is cached of them is the same whatever the class, and both halves of guidance."""
    paradigm = ContinuousBlockDiffusion(4, Flow(), mask="unconditional_history")
    model, x = generator(SPECS["continuous"]), tokens_for(paradigm)
    row = paradigm.corrupt(x, model, draws(4))
    modulation = paradigm.modulation(model, row.levels)
    one, other = (
        model(row.values, row.layout, row.mask, condition_of(model, torch.full((4,), label)), modulation=modulation)
        for label in (0, 2)
    )
    same, clean = (one == other).all(-1), (row.layout.role == Role.CLEAN).expand(4, -1)
    assert same[clean].all() and not same[(row.layout.role == Role.NOISY).expand(4, -1)].any()
