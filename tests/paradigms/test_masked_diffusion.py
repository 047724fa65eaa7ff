"""Discrete diffusion against a perfect model of an enumerable world: exact bounds, exact laws of samples; and against
diffusers' schedulers.
"""

import math

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.layout import prefix
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.model.heads import CategoricalHead
from mmgen.model.heads.choices import BitsHead
from mmgen.paradigms import Decoding, MaskedDiffusion, Request, SampleOptions
from mmgen.paradigms.base import Corrupted
from mmgen.paradigms.decoding import distribution
from mmgen.paradigms.diffusion.absorbing import Absorbing, move
from mmgen.paradigms.diffusion.corruption import LEAST_SHARE
from mmgen.paradigms.diffusion.uniform import divergence, guided_reverse, reverse
from mmgen.paradigms.schedules import NoiseSchedule, TimeGridName, hidden_share, time_grid
from tests.paradigms.oracle import Oracle, absorbing_law, uniform_law
from tests.worlds import GRID, World, condition_of, draws, generator, tokens_for

SCHEDULES = {
    "linear": NoiseSchedule("linear"),
    "cosine": NoiseSchedule("cosine"),
    "polynomial": NoiseSchedule("polynomial", 2.0),
    "polynomial-3": NoiseSchedule("polynomial", 3.0),
}
schedules = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
corruptions = pytest.mark.parametrize("corruption", ["absorbing", "uniform"])
LABELS = torch.tensor([0, 1, 2, -1])
RAGGED = torch.tensor([9, 3, 7, 1])


def diffusion(schedule: NoiseSchedule, corruption: str = "absorbing", **options) -> MaskedDiffusion:
    return MaskedDiffusion(schedule.name, schedule.exponent, corruption, **options)


def tokens(rows: int = 4, seed: int = 0, lengths: Tensor | None = None) -> Tokens:
    return tokens_for(MaskedDiffusion(), rows, seed, lengths)


def sampled(paradigm: MaskedDiffusion, model, count: int, options: SampleOptions, **request):
    with torch.inference_mode():
        return list(paradigm.sample(model, Request(draws(count), **request), options))


def assert_follows(histogram: Tensor, law: Tensor) -> None:
    expected = law * histogram.sum()
    assert float(((histogram - expected) ** 2 / expected).sum()) < chi2.ppf(1 - 1e-4, len(law) - 1)


# Schedules and weights


@schedules
def test_schedules_rise_from_nothing_to_all_with_the_right_slope(schedule: NoiseSchedule) -> None:
    time = torch.linspace(0, 1, 1001, dtype=torch.float64)
    share = schedule.share(time)
    assert share[0] == 0 and share[-1] == 1 and (share.diff() > 0).all()
    inner = time[1:-1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(schedule.share(inner).sum(), inner)
    torch.testing.assert_close(schedule.rate(time[1:-1]), slope)
    for s in (1e-5, 0.3, 1.0):
        assert abs(float(schedule.share(torch.tensor(schedule.time(s), dtype=torch.float64))) - s) < 1e-12
    if schedule.name != "polynomial":
        torch.testing.assert_close(share, hidden_share(schedule.name, 1 - time))


@schedules
def test_weights_times_hidden_tokens_integrate_to_one_per_row(schedule: NoiseSchedule) -> None:
    """The integral of -alpha' is alpha at its beginning minus alpha at its end."""
    noise = Absorbing(schedule)
    time = noise.first + (1 - noise.first) * (torch.arange(200000, dtype=torch.float64) + 0.5) / 200000
    assert abs(float((1 - noise.first) * schedule.rate(time).mean()) - (1 - LEAST_SHARE)) < 1e-6
    count = 20000
    row = diffusion(schedule).corrupt(tokens(count), generator(), draws(count))
    total = row.weights.sum(1)
    error = float(total.std()) / math.sqrt(count)
    assert abs(float(total.mean()) - 1) < 4 * error and error < 0.02
    assert row.weights.dtype == torch.float64 and ((row.weights > 0) == row.hidden).all()


def test_uniform_corruption_keeps_symbols_with_probability_alpha_and_levels_out_the_rest() -> None:
    """Each group of bits on its own: 2 groups of 4 choices, whose tokens would hardly ever survive as a whole."""
    count, model = 30000, generator(TokenSpec("bits", 4, GRID))
    model.head = BitsHead(model.spec, 32, group=2).double()
    x = tokens(count)
    row = MaskedDiffusion(corruption="uniform").corrupt(x, model, draws(count))
    before, after = model.head.split(x.values), model.head.split(row.values)
    share = row.levels[..., None]
    gap = ((before == after).double() - (1 - share + share / 4)).mean((0, 1))
    assert gap.abs().max() < 4 * 0.5 / math.sqrt(count * 9)
    shift = torch.stack([((after - before) % 4 == k).double() for k in (1, 2, 3)]).mean((1, 2))
    assert (shift - 1 / 8).abs().max() < 4 * 0.34 / math.sqrt(count * 9)  # a quarter of the mean share of 1/2 each
    both = ((before != after).all(-1).double() - (0.75 * row.levels) ** 2).mean()
    assert abs(float(both)) < 4 * 0.5 / math.sqrt(count * 9)


# Bounds


def exact_bound(paradigm: MaskedDiffusion, oracle: Oracle, world: World, points: int = 1500) -> float:
    """The bound's integral over time, and its exact mean over all data and all noise: no random number in it."""
    noise, spec = paradigm.noise, world.spec
    time = noise.first + (1 - noise.first) * ((torch.arange(points, dtype=torch.float64) + 0.5) / points) ** 2
    measure = (1 - noise.first) * 2 * (torch.arange(points, dtype=torch.float64) + 0.5) / points / points
    states, head, total = world.states, oracle.head, noise.remainder(oracle.head)
    masks = torch.cartesian_prod(*[torch.tensor([False, True])] * spec.length)
    for x, probability in zip(states, world.law):
        outcomes = masks if isinstance(noise, Absorbing) else states
        z = outcomes.repeat(points, 1)
        t = time.repeat_interleave(len(outcomes))[:, None].expand_as(z)
        share, clean = noise.schedule.share(t), x.expand_as(z)
        if isinstance(noise, Absorbing):
            chance = torch.where(z, share, 1 - share).prod(1)
            weights = z * noise.schedule.rate(t) / share / spec.length
            row = Corrupted(clean, z, prefix(spec.length + 1), paradigm.mask, clean, weights)
        else:
            same = (head.split(z) == head.split(x)).double()
            chance = ((1 - share[..., None]) * same + share[..., None] / head.choices).flatten(1).prod(1)
            weights = torch.full_like(share, 1 / spec.length)
            row = Corrupted(z, None, prefix(spec.length + 1), paradigm.mask, clean, weights, levels=t)
        nats = paradigm.loss(oracle, row, condition_of(oracle, z[:, 0]))
        total += float(probability * (measure.repeat_interleave(len(outcomes)) * chance * nats).sum())
    return total


@schedules
@corruptions
def test_a_perfect_models_bound_is_the_entropy(schedule: NoiseSchedule, corruption: str) -> None:
    """Whatever the schedule (change of variable). What the bound pays for its cut-off is below 0.0003 nats."""
    world = World()
    bound = exact_bound(diffusion(schedule, corruption), Oracle(world, schedule), world)
    assert world.entropy - 2e-5 < bound < world.entropy + 3e-4


def test_the_posterior_is_not_what_the_uniform_bound_asks_for() -> None:
    """One token: the leave-one-out law is the marginal. Its bound is the entropy, the posterior's far above it."""
    world, schedule = World(size=3, length=1), NoiseSchedule()
    world.law = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    paradigm = diffusion(schedule, "uniform")
    right = exact_bound(paradigm, Oracle(world, schedule), world)
    wrong = exact_bound(paradigm, Oracle(world, schedule, posterior=True), world)
    assert abs(right - 1.0297) < 3e-4 and abs(wrong - 1.504) < 2e-3


@schedules
@corruptions
def test_loss_and_estimated_bound_are_the_entropy_within_sampling_error(
    schedule: NoiseSchedule, corruption: str
) -> None:
    """Four standard errors, which are 0.02 nats at most for the bound; the loss has rare samples of great weight."""
    count, world = 20000, World()
    oracle, paradigm = Oracle(world, schedule), diffusion(schedule, corruption)
    x, labels = Tokens(world.sample(count, 3), world.spec.grid), torch.full((count,), -1)
    bound = paradigm.bound(oracle, x, condition_of(oracle, labels), draws(count))
    loss = paradigm.losses(oracle, x, condition_of(oracle, labels), draws(count))["diffusion"]
    assert bound.shape == (count,) and bound.dtype == torch.float64
    for estimate, limit in [(bound, 0.02), (loss, 0.03)]:
        error = float(estimate.std()) / math.sqrt(count)
        assert abs(float(estimate.mean()) - world.entropy) < 4 * error and error < limit
    assert bound.std() < loss.std() or schedule.name == "polynomial"


def test_the_divergence_is_the_published_bracket_and_stable_at_both_ends_in_float32() -> None:
    g = torch.Generator().manual_seed(0)
    law = torch.randn(50, 5, generator=g).double().softmax(-1)
    target, z = (torch.randint(0, 5, (50,), generator=g) for _ in range(2))
    for share in (1e-5, 1e-3, 0.5, 0.999, 1 - 1e-6):
        x = nn.functional.one_hot(target, 5).double()
        xb, pb = (share + 5 * (1 - share) * each for each in (x, law))
        at, pt = (each.gather(-1, z[:, None])[:, 0] for each in (xb, pb))
        published = -5 / at + 5 / pt
        for j in range(5):
            published += xb[:, j] / at * torch.log(pt * xb[:, j] / (pb[:, j] * at))
        exact = divergence(law, target, z, torch.tensor([share], dtype=torch.float64))
        torch.testing.assert_close(exact, published, rtol=1e-6, atol=1e-9)
        single = divergence(law.float(), target, z, torch.tensor([share]))
        assert (single >= 0).all()
        # The integrand's factor is 1 / (V alpha): errors must stay small after it.
        scale = 5 * (1 - share)
        torch.testing.assert_close(single / scale, (exact / scale).float(), rtol=1e-3, atol=1e-4)


# Samplers


def chain_law(paradigm: MaskedDiffusion, oracle: Oracle, steps: int) -> Tensor:
    """The exact law of the sampler's chain of so many steps."""
    noise = paradigm.noise
    if isinstance(noise, Absorbing):
        return absorbing_law(oracle, noise.moves(steps, Decoding()))
    return uniform_law(oracle, noise.shares(steps).tolist(), time_grid(noise.grid, steps).tolist()[:-1])


@schedules
@corruptions
@pytest.mark.parametrize("grid", ["uniform", "cosine"])
def test_few_steps_draw_what_the_chain_says(schedule: NoiseSchedule, corruption: str, grid: TimeGridName) -> None:
    """Three steps are not yet the world's law; the exact law of the three-step chain is. MD4's published pair is the
    linear law, sampled at sin(pi u / 2) of even times.
    """
    world = World()
    oracle, paradigm = Oracle(world, schedule), diffusion(schedule, corruption, sampling_grid=grid)
    if (schedule.name, grid) == ("linear", "cosine"):
        assert paradigm.noise.shares(3).tolist() == pytest.approx([1, math.sin(math.pi / 3), 0.5, 0])
    states = sampled(paradigm, oracle, 20000, SampleOptions(steps=3))
    assert_follows(world.histogram(states[-1].tokens), chain_law(paradigm, oracle, 3))
    assert states[-1].committed.all() and states[-1].step == 3 and states[-1].forward_passes == 3


@corruptions
def test_the_chain_tends_to_the_worlds_law(corruption: str) -> None:
    """Its distance from the law falls like 1 / steps."""
    world, paradigm = World(), diffusion(NoiseSchedule(), corruption)
    laws = [chain_law(paradigm, Oracle(world, NoiseSchedule()), steps) for steps in (8, 32, 128)]
    far, middle, near = (float((law - world.law).abs().sum()) for law in laws)
    assert far > 3 * middle > 9 * near and near < 0.01


@pytest.mark.parametrize("rules", [Decoding(), Decoding(temperature=0.7), Decoding(top_k=2), Decoding(temperature=0)])
def test_guidance_of_uniform_corruption_mixes_the_laws_of_a_step(rules: Decoding) -> None:
    """p(z_s | z_t, c)^s p(z_s | z_t)^(1 - s) (Schiff et al. 2025), not what a mix of the logits would give."""
    source = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, 3, 1, 5, generator=source, dtype=torch.float64)  # conditional rows, then the others
    symbol, scale, now, after = torch.randint(0, 5, (2, 3, 1), generator=source), 2.5, 0.6, 0.4

    def mix(x: Tensor) -> Tensor:
        return CategoricalHead(TokenSpec("categorical", 5, GRID), 1).guide(*x.chunk(2), scale)

    actual = guided_reverse(logits, symbol, now, after, rules, mix)
    if rules == Decoding():
        conditional, plain = (reverse(each.softmax(-1), symbol, now, after) for each in logits.chunk(2))
        product = conditional**scale * plain ** (1 - scale)
        torch.testing.assert_close(actual, product / product.sum(-1, keepdim=True))
    torch.testing.assert_close(actual.sum(-1), torch.ones_like(actual.sum(-1)))
    same = guided_reverse(logits[:2].repeat(2, 1, 1, 1), symbol, now, after, rules, mix)
    solo = guided_reverse(logits[:2], symbol, now, after, rules, lambda x: x)
    torch.testing.assert_close(same, solo)  # halves that agree: whatever the scale, the law without guidance
    last = guided_reverse(logits, symbol, now, 0.0, rules, mix)
    assert torch.equal(last > 1e-9, (last > 1e-9) & (distribution(mix(logits), rules) > 0))


@pytest.mark.parametrize("remask", ["cap", "loop"])
def test_remasking_draws_what_its_chain_says_and_tends_to_the_law(remask: str) -> None:
    """It tends to the world's law where eta falls as steps grow: tokens that come back in one step are independent."""
    world, schedule, count = World(), NoiseSchedule("cosine"), 20000
    oracle, paradigm = Oracle(world, schedule), diffusion(schedule)
    laws = {}
    for steps in (6, 48, 192):
        rules = Decoding(remask=remask, remask_eta=1.8 / steps, remask_at=0.6)
        moves = paradigm.noise.moves(steps, rules)
        laws[steps] = absorbing_law(oracle, moves)
        if steps == 6:
            assert len(moves) == 6 and sum(each.remask > 0 for each in moves) == {"cap": 4, "loop": 3}[remask]
            states = sampled(paradigm, oracle, count, SampleOptions(steps=6, decoding=rules))
            assert_follows(world.histogram(states[-1].tokens), laws[6])
    far, middle, near = (float((law - world.law).abs().sum()) for law in laws.values())
    assert far > 3 * middle > 9 * near and near < 0.01


@schedules
def test_remasking_leaves_the_share_of_hidden_tokens_as_it_was(schedule: NoiseSchedule) -> None:
    for now, after in [(0.9, 0.6), (0.5, 0.5), (0.2, 0.0), (1.0, 0.8)]:
        for eta in (0.0, 0.1, 1.0):
            step = move(now, after, eta)
            assert -1e-12 <= step.reveal <= 1 + 1e-12 and 0 <= step.remask <= eta
            assert abs(now * (1 - step.reveal) + (1 - now) * step.remask - after) < 1e-12


def test_the_loop_stays_at_its_level() -> None:
    moves = Absorbing(NoiseSchedule()).moves(20, Decoding(remask="loop", remask_eta=0.1, remask_at=0.7))
    hidden, shares = 1.0, [1.0]
    for each in moves:
        hidden = hidden * (1 - each.reveal) + (1 - hidden) * each.remask
        shares.append(hidden)
    constant = [a for a, b in zip(shares, shares[1:]) if abs(a - b) < 1e-12]
    assert len(constant) == 10 and all(abs(share - 0.3) < 1e-9 for share in constant) and abs(shares[-1]) < 1e-12


@pytest.mark.parametrize("remask", ["none", "cap", "loop"])
def test_what_is_committed_never_changes_and_what_may_change_is_drafted(remask: str) -> None:
    rules = Decoding(remask=remask, remask_eta=0.5, remask_at=0.5)
    known = tokens(16, seed=5).values
    keep = torch.rand(16, 9, generator=torch.Generator().manual_seed(0)) < 0.3
    options = SampleOptions(steps=12, decoding=rules)
    states = sampled(MaskedDiffusion(), generator(), 16, options, known=known, keep=keep)
    changed = False
    for before, after in zip(states, states[1:]):
        assert torch.equal(after.tokens[keep], known[keep]) and after.committed[keep].all()
        assert (after.committed | ~before.committed).all()
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
        changed |= bool((before.filled & ~after.filled).any())
    assert states[-1].committed.all() and changed == (remask != "none")


@corruptions
def test_infilling_draws_the_conditional_law(corruption: str) -> None:
    """The kept token is at noise level 0, so the oracle takes it at its word."""
    world, schedule, count = World(), NoiseSchedule(), 4000
    known, keep = torch.zeros(count, 3, dtype=torch.int64), torch.tensor([False, True, False]).expand(count, -1)
    options = SampleOptions(steps=128)
    *_, last = sampled(diffusion(schedule, corruption), Oracle(world, schedule), count, options, known=known, keep=keep)
    possible = world.states[:, 1] == 0
    law = world.law[possible] / world.law[possible].sum()
    assert_follows(world.histogram(last.tokens)[possible], law)


def test_steps_that_reveal_nothing_in_a_row_cost_it_nothing() -> None:
    world = World()
    oracle = Oracle(world)
    states = sampled(MaskedDiffusion(), oracle, 1, SampleOptions(steps=500))
    assert states[-1].forward_passes == len(states) - 1 <= 3
    oracle.rows = 0
    sampled(MaskedDiffusion(), oracle, 100, SampleOptions(steps=500))
    assert oracle.rows <= 300  # three tokens a row


STOPPING = SampleOptions(steps=40, decoding=Decoding(stop_entropy=4.0))


def test_rows_that_stop_are_frozen_and_cost_nothing() -> None:
    model, paradigm, batches = generator(), MaskedDiffusion(corruption="uniform"), []
    forward = type(model).forward

    def record(values, *rest, **named):
        batches.append(len(values))
        return forward(model, values, *rest, **named)

    model.forward = record
    states = sampled(paradigm, model, 12, STOPPING)
    stopped = torch.stack([state.committed.all(1) for state in states])
    when = stopped.double().argmax(0)
    assert len(when.unique()) > 1 and when.max() < 40 and when.min() >= 3
    assert batches == [int((~each).sum()) for each in stopped[:-1]] and states[-1].forward_passes == len(batches)
    for row, end in enumerate(when.tolist()):
        for state in states[end:]:
            assert torch.equal(state.tokens[row], states[end].tokens[row])


def test_a_stopped_row_holds_its_most_probable_tokens() -> None:
    """Independent positions: x' is the marginal, and a stopped row is the posterior's argmax for its last noisy row."""
    world = World(size=3, length=1)
    world.law = torch.tensor([0.05, 0.9, 0.05], dtype=torch.float64)
    options = SampleOptions(steps=60, decoding=Decoding(stop_entropy=0.4))
    states = sampled(diffusion(NoiseSchedule(), "uniform"), Oracle(world, NoiseSchedule()), 200, options)
    first = next(state for state in states if state.committed.any())
    assert first.step >= 3 and (first.tokens[first.committed] == 1).all()


# Self-conditioning


@corruptions
def test_self_conditioning_is_absent_at_first_bit_for_bit(corruption: str) -> None:
    """Its linear map starts at zero: losses, bounds and samples are those without it."""
    model, x = generator(), tokens()
    nn.init.zeros_(model.parts["self_conditioning"].weight)
    off, on = (MaskedDiffusion(corruption=corruption, self_conditioning=s) for s in (False, True))
    for ask in ("losses", "bound"):
        without, with_ = (
            getattr(paradigm, ask)(model, x, condition_of(model, LABELS), draws(4)) for paradigm in (off, on)
        )
        if ask == "losses":
            without, with_ = without["diffusion"], with_["diffusion"]
        assert torch.equal(without, with_)
    states = [sampled(paradigm, model, 8, SampleOptions(steps=6)) for paradigm in (off, on)]
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(*states, strict=True))


@corruptions
def test_half_of_the_samples_see_their_first_prediction_in_training(corruption: str) -> None:
    """A sample's loss is the plain one or the conditioned one, whichever its own draw says."""
    count, model = 200, generator()
    x, labels = tokens(count), torch.zeros(count, dtype=torch.int64)
    off, on = (MaskedDiffusion(corruption=corruption, self_conditioning=s) for s in (False, True))
    with torch.no_grad():
        plain = off.losses(model, x, condition_of(model, labels), draws(count))["diffusion"]
        mixed = on.losses(model, x, condition_of(model, labels), draws(count))["diffusion"]
        row, condition = on.corrupt(x, model, draws(count)), condition_of(model, labels)
        whole = on.loss(model, row, condition, on._previous(model, row, condition, labels == 0))
    same = torch.isclose(mixed, plain, rtol=1e-9)
    assert 0.35 < float(same.double().mean()) < 0.65
    torch.testing.assert_close(mixed[~same], whole[~same], rtol=1e-8, atol=1e-10)


def test_the_first_prediction_gets_no_gradient_but_its_embedding_does() -> None:
    torch.manual_seed(0)
    spec, backbone = TokenSpec("categorical", 5, GRID), Transformer(dim=32, depth=1, heads=2, rope=(1, 1, 1))
    paradigm, x = MaskedDiffusion(self_conditioning=True), Tokens(torch.randint(0, 5, (16, 9)), GRID)
    model = Generator(spec, backbone, parts=paradigm.parts(spec, backbone))
    paradigm.losses(model, x, condition_of(model, torch.full((16,), -1)), draws(16))["diffusion"].mean().backward()
    assert all(parameter.grad is not None for parameter in model.parts["self_conditioning"].parameters())
    calls = []
    model.head.register_forward_hook(lambda *_: calls.append(1))
    row = paradigm.corrupt(x, model, draws(16))
    previous = paradigm._previous(model, row, condition_of(model, torch.full((16,), -1)), torch.arange(16) < 8)
    (gradient,) = torch.autograd.grad(previous.sum(), model.head.project.weight, allow_unused=True)
    assert gradient is None and previous.requires_grad
    assert (previous[8:] == 0).all() and (previous[:8][~row.hidden[:8]] == 0).all() and (previous[:8] != 0).any()


@corruptions
def test_sampling_feeds_back_each_rows_last_prediction(corruption: str) -> None:
    """Rows that sit out a step keep theirs; what is known already gets none."""
    model, passes = generator(), []
    forward, keep = type(model).forward, torch.arange(9).expand(3, -1) < 2

    def record(values, layout, mask, condition, hidden, cache, store, outputs, added, modulation, *more):
        given = mask, condition, hidden, cache, store, outputs, added, modulation
        features = forward(model, values, layout, *given, *more)
        passes.append((hidden, added, model.embedding.expected(model.head.logits(features).softmax(-1))))
        return features

    model.forward = record
    paradigm = MaskedDiffusion(corruption=corruption, self_conditioning=True)
    for row in range(3):
        passes.clear()
        one = Request(
            draws(3).rows(torch.tensor([row])),
            None,
            tokens(1).values,
            keep[:1],
            conditions={"class": torch.tensor([0])},
        )
        with torch.inference_mode():
            list(paradigm.sample(model, one, SampleOptions(steps=12)))
        assert len(passes) >= 3 and passes[0][1] is None
        for (_, _, before), (hidden, added, _) in zip(passes, passes[1:]):
            unknown = ~keep[:1] if hidden is None else hidden
            earlier = model.parts["self_conditioning"](torch.where(unknown[..., None], before, 0.0))
            torch.testing.assert_close(added, earlier)


# Peers


def vq_scheduler(choices: int, alpha: tuple[float, float], absorbed: tuple[float, float]):
    from diffusers import VQDiffusionScheduler

    return VQDiffusionScheduler(
        num_vec_classes=choices + 1, num_train_timesteps=10, alpha_cum_start=alpha[0], alpha_cum_end=alpha[1],
        gamma_cum_start=absorbed[0], gamma_cum_end=absorbed[1],
    )  # fmt: skip


def test_absorbing_steps_are_those_of_vq_diffusion() -> None:
    """Its posterior with (almost) no uniform part: revealed with (alpha_s - alpha_t) / (1 - alpha_t), else hidden."""
    choices = 4
    scheduler = vq_scheduler(choices, (0.999, 0.001), (0.000999, 0.998999))
    law = torch.randn(1, choices, 1, generator=torch.Generator().manual_seed(0)).softmax(1)
    for t in range(1, 10):
        now, after = (1 - float(scheduler.log_cumprod_at[k].exp()) for k in (t, t - 1))
        theirs = scheduler.q_posterior(law.log(), torch.tensor([[choices]]), t)[0, :, 0].exp()
        step = move(now, after, 0.0)
        torch.testing.assert_close(theirs[:choices], step.reveal * law[0, :, 0], rtol=1e-3, atol=1e-5)
        assert abs(float(theirs[choices]) - (1 - step.reveal)) < 1e-4


def test_uniform_steps_are_those_of_vq_diffusion() -> None:
    """Its posterior sums q(z_s | z_t, x) over the posterior of x; ours multiplies with the leave-one-out law."""
    choices = 4
    scheduler = vq_scheduler(choices, (0.999, 0.001), (1e-9, 2e-9))
    law = torch.randn(6, choices, generator=torch.Generator().manual_seed(0)).double().softmax(-1)
    z = torch.arange(6) % choices
    for t in range(1, 10):
        now, after = (1 - float(scheduler.log_cumprod_at[k].exp()) for k in (t, t - 1))
        posterior = reverse(law, z, now, 0.0)
        theirs = scheduler.q_posterior(posterior.log().float().T[None], z[None], t)[0].exp().T
        torch.testing.assert_close(theirs[:, :choices].double(), reverse(law, z, now, after), rtol=2e-3, atol=2e-4)


# Mistakes


def test_mistakes_are_refused_in_one_line() -> None:
    for wrong, message in [
        ({"steps": 0}, "steps 0"),
        ({"exponent": 0.0}, "exponent 0.0"),
        ({"schedule": "cosin"}, "schedule 'cosin' .* cosine"),
        ({"corruption": "unifrm"}, "corruption 'unifrm' .* uniform"),
    ]:
        with pytest.raises(UserError, match=message):
            MaskedDiffusion(**wrong)
    cases = [
        ("uniform", Decoding(remask="cap"), "remask does"),
        ("absorbing", Decoding(stop_entropy=1.0), "stop_entropy"),
    ]
    for corruption, rules, message in cases:
        with pytest.raises(UserError, match=message) as raised:
            sampled(MaskedDiffusion(corruption=corruption), generator(), 2, SampleOptions(decoding=rules))
        assert "\n" not in str(raised.value)
    plain, x = generator(paradigm=MaskedDiffusion()), tokens()
    for paradigm, part in [
        (MaskedDiffusion(corruption="uniform"), "noise_level"),
        (MaskedDiffusion(self_conditioning=True), "self_conditioning"),
    ]:
        message = f"MaskedDiffusion needs its part '{part}'"
        with pytest.raises(UserError, match=message):
            paradigm.bound(plain, x, condition_of(plain, LABELS), draws(4))
        with pytest.raises(UserError, match=message):
            sampled(paradigm, plain, 2, SampleOptions())
    with pytest.raises(UserError, match="set its modulation to adaln"):
        generator(paradigm=MaskedDiffusion(corruption="uniform"), modulation="none")
    vectors = generator(TokenSpec("continuous", 3, GRID))
    with pytest.raises(UserError, match="discrete tokens"):
        MaskedDiffusion().losses(vectors, x, condition_of(vectors, LABELS), draws(4))
