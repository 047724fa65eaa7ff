"""What a pattern costs, with a model that knows all: on worlds small enough to enumerate."""

import itertools

import pytest
import torch
from torch import Tensor

from mmgen.core.layout import prefix
from mmgen.core.patterns import Pattern
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.conditions import Conditions
from mmgen.model.heads import ResidualHead
from mmgen.paradigms import CodebookAutoregressive
from tests.worlds import condition_of, draws


class Source:
    """All (frames, levels) arrays of two codes, with a law."""

    def __init__(self, frames: int, levels: int, feedback: bool) -> None:
        """Level q follows levels up to its own, of its own frame and the one before; of all levels with feedback."""
        self.spec = TokenSpec("residual", 2, (frames, 1, 1), levels=levels)
        self.states = torch.tensor(list(itertools.product(range(2), repeat=frames * levels))).view(-1, frames, levels)
        noise = torch.Generator().manual_seed(1)
        law = torch.ones(len(self.states), dtype=torch.float64)
        for frame, level in itertools.product(range(frames), range(levels)):
            seen = self.states[:, frame, :level]
            if frame:
                seen = torch.cat([seen, self.states[:, frame - 1, : levels if feedback else level + 1]], dim=1)
            table = torch.rand(2 ** seen.shape[1], 2, generator=noise, dtype=torch.float64).pow(2)
            index = (seen * 2 ** torch.arange(seen.shape[1])).sum(1)
            law *= (table / table.sum(1, keepdim=True))[index, self.states[:, frame, level]]
        self.law = law

    def entropy(self, codes: list[tuple[int, int]]) -> float:
        """Nats of some codes together."""
        if not codes:
            return 0.0
        chosen = torch.stack([self.states[:, frame, level] for frame, level in codes], dim=1)
        index = (chosen * 2 ** torch.arange(len(codes))).sum(1)
        each = torch.zeros(2 ** len(codes), dtype=torch.float64).index_add_(0, index, self.law)
        return float(torch.special.entr(each).sum())

    def cost(self, pattern: Pattern) -> float:
        """Nats of a row whose steps are predicted as well as can be, each code apart from the others of its step."""
        known: list[tuple[int, int]] = []
        total = 0.0
        frames = self.spec.grid[0]
        for held in pattern.at(torch.arange(pattern.count(frames)), frames).tolist():
            here = [(frame, level) for level, frame in enumerate(held) if frame >= 0]
            total += sum(self.entropy([*known, code]) - self.entropy(known) for code in here)
            known += here
        return total


class Oracle:
    """Looks like a generator, and knows the law of each code given those that it is shown."""

    prefix, prefix_length, classes, actions, positions = prefix(1), 1, 0, 0, None

    def __init__(self, source: Source, pattern: Pattern) -> None:
        self.source, self.spec, self.pattern = source, source.spec, pattern
        self.head = ResidualHead(source.spec, 1)
        self.conditions = Conditions({}, 1, start=True)
        self.head.logits = lambda features: features  # type: ignore[method-assign]

    def __call__(
        self, values, layout, mask, condition, hidden=None, outputs=None, added=None, modulation=None
    ) -> Tensor:
        assert layout.length == values.shape[1] + 1 == outputs and added is None and modulation is None
        frames, levels = self.spec.grid[0], torch.arange(self.spec.levels)
        fits = torch.ones(len(values), len(self.source.states), dtype=torch.bool)
        laws = []
        for step in range(outputs):
            weight = fits * self.source.law
            held = self.pattern.at(torch.tensor(step), frames)
            one = torch.nn.functional.one_hot(self.source.states[:, held.clamp_min(0), levels], 2).double()
            laws.append(torch.einsum("bs,sqv->bqv", weight, one) / weight.sum(1)[:, None, None])
            if step < outputs - 1:
                shown = self.source.states[:, held.clamp_min(0), levels] == values[:, step, None]
                assert torch.equal(hidden[:, step], (held < 0).expand(len(values), -1))
                fits &= (shown | hidden[:, step, None]).all(-1)
        return torch.stack(laws, dim=1).clamp_min(1e-300).log()


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize(("frames", "levels"), [(3, 2), (2, 3)])
def test_a_pattern_costs_what_is_dependent_within_its_steps(frames: int, levels: int, feedback: bool) -> None:
    """Where level q follows levels up to its own, flat and delay take the entropy itself, and parallel what the levels
    of a frame tell of each other besides. Where coarse levels follow finer ones of the frame before, delay pays too.
    """
    source = Source(frames, levels, feedback)
    x = Tokens(source.states, source.spec.grid)
    costs = {}
    for name in ("flat", "parallel", "delay", "coarse_first"):
        paradigm = CodebookAutoregressive(name)  # type: ignore[arg-type]
        oracle = Oracle(source, Pattern(name, levels))  # type: ignore[arg-type]
        condition = condition_of(oracle, torch.zeros(len(source.states)))
        nats = paradigm.bound(oracle, x, condition, draws(len(source.states)))  # type: ignore[arg-type]
        costs[name] = float((source.law * nats).sum()) * frames
        assert costs[name] == pytest.approx(source.cost(Pattern(name, levels)), rel=1e-9)  # type: ignore[arg-type]
    entropy = source.entropy(list(itertools.product(range(frames), range(levels))))
    between = 0.0  # total correlation of the levels of each frame, given the frames before it
    for frame in range(frames):
        past = list(itertools.product(range(frame), range(levels)))
        own = [(frame, level) for level in range(levels)]
        between += sum(source.entropy([*past, code]) - source.entropy(past) for code in own)
        between -= source.entropy(past + own) - source.entropy(past)
    assert between > 0.05
    assert costs["flat"] == pytest.approx(entropy, rel=1e-9)
    assert costs["parallel"] == pytest.approx(entropy + between, rel=1e-9)
    if feedback:
        assert entropy + 1e-3 < costs["delay"]
    else:
        assert costs["delay"] == pytest.approx(entropy, rel=1e-9)
