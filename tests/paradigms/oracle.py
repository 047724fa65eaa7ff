"""A perfect model of an enumerable world in place of a trained generator, and exact laws of what is drawn with it."""

import itertools

import torch
from torch import Tensor

from mmgen.core.layout import prefix
from mmgen.core.tokens import TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditions
from mmgen.model.heads import ChoiceHead, head_for
from mmgen.paradigms.diffusion.absorbing import Move
from mmgen.paradigms.diffusion.uniform import reverse
from mmgen.paradigms.schedules import NoiseSchedule
from tests.worlds import World


def code_world(seed: int = 0) -> World:
    """Two frames of two levels of binary codes, with a law that has no conditional independence in it."""
    world = World(2, 4, seed)
    world.spec, world.states = TokenSpec("residual", 2, (2, 1, 1), levels=2), world.states.view(-1, 2, 2)
    return world


class Oracle:
    """Looks like a generator. Its features are the logarithms of the exact laws of each symbol: given the visible
    tokens or, with noise levels, given the noisy ones. Its modulation by a level is that level, and it needs no marks.

    Args:
        world: what it knows.
        schedule: of the noise, for noise levels.
        posterior: count the noisy symbol itself too, which the bound of uniform corruption does not want.
        head: how tokens split into symbols; that of the world's tokens by default.
    """

    prefix, prefix_length, classes, actions, text = prefix(1), 1, 0, 0, None
    backbone = Transformer(dim=8, depth=1, heads=2)  # made ready, and never called
    training, parts = (
        False,
        {"noise_level": lambda levels: levels[..., None], "rank": lambda rank: rank[..., None] * 0.0},
    )

    def __init__(
        self,
        world: World,
        schedule: NoiseSchedule | None = None,
        posterior: bool = False,
        head: ChoiceHead | None = None,
    ) -> None:
        self.spec, self.schedule, self.posterior = world.spec, schedule, posterior
        self.head = head or head_for(world.spec, 1)
        self.conditions = Conditions({}, 1, start=True)
        self.head.logits = lambda features: features
        self.states = self.head.split(world.states).flatten(1)  # (S, symbols)
        self.law = world.law
        self.rows = 0

    def parameters(self):
        yield torch.zeros((), dtype=torch.float64)

    def require_grid(self, grid: tuple[int, int, int]) -> None:
        assert grid == self.spec.grid

    def __call__(self, values, layout, mask, condition, hidden=None, cache=None, store=None, outputs=None, added=None,
                 modulation=None, backbone=None) -> Tensor:  # fmt: skip
        assert layout.length - values.shape[1] in (0, 1) and outputs == values.shape[1]
        self.rows += len(values)
        z = self.head.split(values).flatten(1)
        if hidden is not None:
            hidden = hidden.flatten(1) if hidden.dim() == 3 else hidden.repeat_interleave(self.head.groups, 1)
            fits = (z[:, None] == self.states) | hidden[:, None]
            weight = (fits.all(-1) * self.law)[..., None].expand(-1, -1, z.shape[1])
        else:
            share = self.schedule.share(modulation[..., 0]).repeat_interleave(self.head.groups, 1)[:, None]
            seen = (1 - share) * (z[:, None] == self.states) + share / self.head.choices  # (B, S, symbols)
            each = seen.clamp_min(1e-300).log()
            others = each.sum(-1, keepdim=True) - (0 if self.posterior else each)
            weight = others.exp() * self.law[:, None]
        one_hot = torch.nn.functional.one_hot(self.states, self.head.choices).double()
        laws = torch.einsum("bsn,snv->bnv", weight, one_hot) / weight.sum(1)[..., None]
        return laws.log().clamp_min(-200).view(*values.shape[:2], self.head.groups, self.head.choices)


def absorbing_law(oracle: Oracle, moves: list[Move]) -> Tensor:
    """(S,) exact law of the sampler's rows, by its Markov chain over all rows of values and mask tokens."""
    size, length = oracle.head.choices, oracle.spec.length
    states = torch.tensor(list(itertools.product(range(size + 1), repeat=length)))
    hidden = states == size
    values = states.where(~hidden, 0)
    laws = oracle(values, _Any(length + 1), None, None, hidden=hidden, outputs=length)[:, :, 0].exp()

    def step(move: Move) -> Tensor:
        visible = (1 - move.remask) * torch.nn.functional.one_hot(states, size + 1).double()
        visible[..., size] += move.remask
        revealed = torch.cat([move.reveal * laws, torch.full_like(laws[..., :1], 1 - move.reveal)], dim=-1)
        return torch.where(hidden[..., None], revealed, visible)  # (S, N, size + 1)

    law = hidden.all(1).double()
    for move in moves:
        law = law @ _joint(step(move), states)
    assert law[hidden.any(1)].sum() < 1e-12
    return law[~hidden.any(1)]


def uniform_law(oracle: Oracle, shares: list[float], times: list[float]) -> Tensor:
    """(S,) exact law of the sampler's rows, by its Markov chain over all rows."""
    length = oracle.spec.length
    states = torch.tensor(list(itertools.product(range(oracle.head.choices), repeat=length)))
    law = torch.full((len(states),), 1 / len(states), dtype=torch.float64)
    for time, now, after in zip(times, shares, shares[1:]):
        level = torch.full((*states.shape, 1), time, dtype=torch.float64)
        laws = oracle(states, _Any(length + 1), None, None, outputs=length, modulation=level)[:, :, 0].exp()
        law = law @ _joint(reverse(laws, states, now, after), states)
    return law


def _joint(each: Tensor, states: Tensor) -> Tensor:
    """Transitions (S, S) of independent positions, each (S, N, values)."""
    return torch.stack([each[:, n][:, states[:, n]] for n in range(states.shape[1])]).prod(0)


class _Any:
    """A layout of which only the length counts."""

    def __init__(self, length: int) -> None:
        self.length = length
