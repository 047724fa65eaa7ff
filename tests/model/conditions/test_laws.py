"""Laws of conditions, for every way in which one can enter."""

from functools import partial

import pytest
import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Role, grid_layout
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.conditions import ClassLabel
from mmgen.model.generator import Generator
from mmgen.paradigms import Autoregressive, ContinuousBlockDiffusion, Flow, Guidance, Masked, Request
from tests.model.conditions.worlds import GRID, WAYS, generator, values_of

TOKENS = torch.randint(0, 16, (4, 8), generator=torch.Generator().manual_seed(1))
ways = pytest.mark.parametrize("way", WAYS)


def _draws(rows: int) -> Draws:
    return Draws(0, torch.arange(rows))


def _features(model: Generator, values: dict[str, Tensor], tokens: Tensor = TOKENS) -> Tensor:
    row = model.prefix + grid_layout(GRID)
    return model(tokens, row, Masked().mask, model.conditions(values, len(tokens)), outputs=8)


@ways
def test_every_value_counts(way: str) -> None:
    model = generator(WAYS[way])
    values, other = values_of(model), values_of(model, seed=1)
    for name in values:
        changed = _features(model, {**values, name: other[name]}) - _features(model, values)
        differs = (values[name] != other[name]).flatten(1 if values[name].dim() > 1 else 0)
        differs = differs.any(1) if differs.dim() > 1 else differs
        assert torch.equal(changed.abs().amax((1, 2)) > 1e-6, differs)


@ways
def test_a_dropped_condition_is_exactly_null(way: str) -> None:
    model = generator(WAYS[way])
    missing = model.conditions({}, 4)
    for each, none in zip(model.conditions(model.conditions.without(values_of(model)), 4), missing, strict=True):
        assert (each is None and none is None) or torch.equal(each, none)
    dropped = model.conditions.drop(values_of(model, 2000), _draws(2000))
    lost = _draws(2000).uniform("condition_dropout") < 0.1
    for name, condition in model.conditions.items():
        assert torch.equal(dropped[name][~lost], values_of(model, 2000)[name][~lost])
        assert torch.equal(dropped[name][lost].nan_to_num(9), condition.null(int(lost.sum())).nan_to_num(9))


@ways
def test_alone_or_in_a_batch(way: str) -> None:
    model = generator(WAYS[way])
    values = values_of(model)
    together, condition = _features(model, values), model.conditions(values, 4)
    for row in range(4):
        own = {name: each[row : row + 1] for name, each in values.items()}
        torch.testing.assert_close(_features(model, own, TOKENS[row : row + 1]), together[row : row + 1])
        picked = condition.rows(torch.tensor([row]))
        for each, expected in zip(picked, model.conditions(own, 1), strict=True):
            assert each is None or torch.allclose(each, expected)


@ways
def test_a_cache_changes_nothing(way: str) -> None:
    model, paradigm = generator(WAYS[way]), Autoregressive()
    values = values_of(model)
    row, condition = paradigm.row(model, GRID, torch.device("cpu")), model.conditions(values, 4)
    whole = model(TOKENS, row, paradigm.mask, condition, outputs=8)
    cache, start = model.backbone.new_cache(4, row.length), model.prefix_length
    first = model(TOKENS[:, :3], row.slice(0, start + 3), paradigm.mask, condition, cache=cache, outputs=3)
    rest = model(TOKENS[:, 3:], row.slice(start + 3), paradigm.mask, condition, cache=cache)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)


@pytest.mark.parametrize("drop", [None, ("text",), ("class", "text")])
def test_guidance_drops_all_conditions_or_the_named_ones(drop: tuple[str, ...] | None) -> None:
    model = generator({name: partial(kind, own_dropout=0.1) for name, kind in WAYS["all"].items()})
    values = values_of(model)
    guided = Request(_draws(4), conditions=values).guided(model, Guidance(3.0, drop=drop))
    row = model.prefix + grid_layout(GRID)
    actual = guided(TOKENS, row, Masked().mask, torch.zeros(4), outputs=8)
    remaining = {} if drop is None else {name: each for name, each in values.items() if name not in drop}
    conditional, plain = (model.head.predict(_features(model, each)) for each in (values, remaining))
    torch.testing.assert_close(actual, plain + 3.0 * (conditional - plain), atol=1e-9, rtol=0)


def test_own_dropout_takes_one_condition_and_leaves_the_others() -> None:
    model = generator({**WAYS["all"], "text": partial(WAYS["all"]["text"], own_dropout=0.2)})  # type: ignore[call-overload]
    dropped = model.conditions.drop(values_of(model, 3000), _draws(3000))
    without = {"text": (dropped["text"] < 0).all(1), "class": dropped["class"] < 0}
    assert abs(float(without["class"].double().mean()) - 0.1) < 0.02
    assert abs(float((without["text"] & ~without["class"]).double().mean()) - 0.18) < 0.03
    assert bool(without["text"][without["class"]].all())


def test_clean_tokens_see_no_class_that_enters_by_modulation() -> None:
    """ACDiT (Hu et al. 2024): noisy positions alone are modulated, and no position stands in front."""
    spec, paradigm = TokenSpec("continuous", 3, GRID), ContinuousBlockDiffusion(2, Flow())
    model = generator(WAYS["class as modulation"], paradigm, spec)
    assert model.prefix_length == 0
    tokens = Tokens(torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), GRID)
    row = paradigm.corrupt(tokens, model, _draws(4))

    def features(label: int) -> Tensor:
        condition = model.conditions({"class": torch.full((4,), label)})
        modulation = paradigm.modulation(model, row.levels)
        return model(row.values, row.layout, row.mask, condition, row.hidden, modulation=modulation)

    noisy = row.layout.role[0] == Role.NOISY
    changed = (features(0) - features(1)).abs().amax((0, 2))
    assert bool((changed[~noisy] == 0).all()) and bool((changed[noisy] > 1e-6).all()) and bool((~noisy).any())
    prefixed = generator({"class": partial(ClassLabel, enters=("prefix", "modulation"))}, paradigm, spec)
    assert prefixed.prefix_length == 1
