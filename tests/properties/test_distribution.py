"""Law 5 for continuous tokens: with a perfect denoiser of an enumerable world samples follow the true law. That of
discrete tokens is in test_codes.py; blocks of any size are those of one (test_paradigm_laws.py, test_sampling_laws.py).
"""

from collections.abc import Iterator

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from mmgen.core.layout import prefix
from mmgen.core.tokens import TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditions
from mmgen.model.heads import LinearHead
from mmgen.paradigms import DDPM, ContinuousBlockDiffusion, Flow, NoiseProcess, Request, SampleOptions
from tests.worlds import World, draws

PROCESSES = Flow(), Flow("x0"), Flow(shift=2.0), DDPM("x0"), DDPM("epsilon"), DDPM("velocity")


class Denoiser:
    """Looks like a generator of tokens -1 and 1 with the law of a world. Its features are what the best denoiser
    predicts: targets are linear in data and noise, so that it is the target of their means given the noisy tokens.
    """

    prefix, prefix_length = prefix(1), 1
    backbone = Transformer(dim=8, depth=1, heads=2)  # made ready, and never called
    parts = {"noise_level": lambda levels: levels[..., None]}  # noqa: RUF012

    def __init__(self, world: World, process: NoiseProcess) -> None:
        self.law, self.states, self.process = world.law, 2.0 * world.states.double()[..., None] - 1, process
        self.spec = TokenSpec("continuous", 1, world.spec.grid)
        self.head, self.conditions = LinearHead(self.spec, 1), Conditions({}, 1, start=True)
        self.head.predict = lambda features: features  # type: ignore[method-assign]

    def parameters(self) -> Iterator[Tensor]:
        yield torch.zeros((), dtype=torch.float64)

    def require_grid(self, grid: tuple[int, int, int]) -> None:
        assert grid == self.spec.grid

    def __call__(self, values: Tensor, *rest: object) -> Tensor:
        level = rest[-2][:, -values.shape[1] :]  # the modulation
        a, b = self.process.scales(level)
        far = ((values[:, None] - a[:, None] * self.states) / b[:, None]).square().sum((2, 3)) / 2
        data = torch.einsum("bs,snc->bnc", (self.law.log() - far).softmax(1), self.states)
        return self.process.target(data, (values - a * data) / b, level)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda each: f"{type(each).__name__}-{each.prediction}")
@torch.inference_mode()
def test_samples_follow_the_true_law(process: NoiseProcess) -> None:
    world, count = World(), 4000
    paradigm = ContinuousBlockDiffusion(world.spec.length, process, steps=200)
    *_, last = paradigm.sample(Denoiser(world, process), Request(draws(count, seed=1)), SampleOptions())  # type: ignore[arg-type]
    assert (last.tokens.abs() - 1).abs().quantile(0.99) < 0.1
    expected, drawn = world.law * count, world.histogram((last.tokens[..., 0] > 0).long())
    statistic = float(((drawn - expected) ** 2 / expected).sum())
    # A sampler in many steps is near, not at, the law: allow a divergence of 0.002 nats beside the sampling error.
    assert statistic < chi2.ppf(1 - 1e-4, len(world.law) - 1) + 2 * count * 0.002
