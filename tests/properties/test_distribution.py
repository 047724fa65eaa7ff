"""Law 5: trained to convergence on an enumerable world, each paradigm samples the true law, and its bound is at least
the entropy.
"""

import pytest
import torch
from scipy.stats import chi2

from mmgen.backbone import Transformer
from mmgen.draws import Draws
from mmgen.generator import Generator
from mmgen.paradigms import Autoregressive, BlockDiffusion, Decoding, Masked, Mixture, Paradigm, Request, SampleOptions
from mmgen.tokens import Tokens
from tests.worlds import World

CASES: dict[str, Paradigm] = {
    "ar": Autoregressive(),
    "masked": Masked(schedule="linear"),
    "block": BlockDiffusion(2),
    "mixture": Mixture({"ar": Autoregressive(), "masked": Masked(schedule="linear"), "block": BlockDiffusion(2)}),
}
EXACT = Decoding(order="random")  # the one order that keeps the model's own distribution, one token a step


@pytest.mark.parametrize("paradigm", CASES.values(), ids=CASES)
def test_samples_follow_the_true_law(paradigm: Paradigm) -> None:
    world = World()
    model = train(world, paradigm)
    count = 4000
    for name, mode in paradigm.modes().items():
        with torch.inference_mode():
            labels, keys = torch.full((count,), -1), Draws(1, torch.arange(count))
            *_, last = mode.sample(model, Request(labels, keys), SampleOptions(steps=world.spec.length, decoding=EXACT))
            bound = float(
                mode.losses(model, Tokens(world.sample(count, 99), world.spec.grid), labels, keys)[mode.mode].mean()
            )
        expected = world.law * count
        statistic = float(((world.histogram(last.tokens) - expected) ** 2 / expected).sum())
        # The model is near, not at, the law: allow a divergence of 0.002 nats beside the sampling error.
        limit = chi2.ppf(1 - 1e-4, len(world.law) - 1) + 2 * count * 0.002
        assert statistic < limit, (name, statistic, limit)
        assert world.entropy - 0.02 < bound < world.entropy + 0.05, (name, bound, world.entropy)


def train(world: World, paradigm: Paradigm, steps: int = 600, batch: int = 256) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Generator(
            world.spec, Transformer(dim=32, depth=2, heads=2, modulation="none", rope=(0, 0, 1)), classes=0
        )
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    labels = torch.full((batch,), -1)
    for step in range(steps):
        tokens = Tokens(world.sample(batch, seed=step), world.spec.grid)
        losses = paradigm.losses(model, tokens, labels, Draws(0, torch.arange(step * batch, (step + 1) * batch)))
        optimiser.zero_grad()
        torch.cat(list(losses.values())).mean().backward()
        optimiser.step()
        schedule.step()
    return model.eval()
