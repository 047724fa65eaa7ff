"""Compiled passes are the backbone's, in low precision and in samplers; in pieces, see test_cached.py."""

import copy
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmgen.core.layout import clean, grid_layout, noisy
from mmgen.core.masks import get_mask
from mmgen.model.backbone import Compiled, Packed, Transformer, compile_passes, prepare
from mmgen.model.backbone.precision import lower
from mmgen.model.generator import Generator
from mmgen.paradigms import Guidance, Request, SampleOptions
from tests.model.backbone.test_cached import LAYOUT, backbone, inputs
from tests.model.backbone.test_packed import packed
from tests.worlds import PARADIGMS, SPECS, draws, generator

MODES = "ar", "block-4", "flow-4"
"""Paradigms that differ in what a compiled pass reads: tracing one takes seconds."""


@pytest.fixture(autouse=True)
def forget() -> None:
    torch.compiler.reset()


def compiled(model: Transformer, backend: str = "eager") -> Compiled:
    compile_passes(model, backend)
    made = prepare(model)
    assert isinstance(made, Compiled)
    return made


@pytest.mark.parametrize("ready", [packed, compiled])
@torch.no_grad()
def test_modulated_positions_and_those_that_are_not_stored(ready: Callable[[Transformer], Packed | Compiled]) -> None:
    model, mask, layout = backbone(torch.float64), get_mask("skip_causal"), grid_layout((1, 3, 3), 3)
    made, (x, cond) = ready(model), inputs(torch.float64)
    some = torch.tensor([[False] * 3 + [True] * 3])
    caches = model.new_cache(3, 9), model.new_cache(3, 9)
    row = clean(layout.slice(0, 3)) + noisy(layout.slice(3, 6))
    for _ in range(2):
        ours, plain = (
            each(x[:, :6], row, mask, cond, some, cache=cache, store=3) for each, cache in zip((made, model), caches)
        )
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
        row, some = noisy(layout.slice(3, 9)), torch.ones(1, 6, dtype=torch.bool)
    assert caches[0].length == caches[1].length == 6


def sampled(model: Generator, mode: str) -> Tensor:
    request = Request(draws(3), conditions={"class": torch.tensor([0, 1, 0])})
    return list(PARADIGMS[mode].sample(model, request, SampleOptions(guidance=Guidance(2.0))))[-1].tokens


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_samples_are_the_same(mode: str) -> None:
    model = generator(SPECS["continuous"] if mode.startswith("flow") else None)
    expected = sampled(model, mode)
    compile_passes(model.backbone, "eager")
    torch.testing.assert_close(sampled(model, mode), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_a_copy_has_weights_of_its_own() -> None:
    model, mask, (x, cond) = backbone(torch.float64), get_mask("causal"), inputs(torch.float64)
    compiled(model)
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        parameter.neg_()
    made = prepare(other)
    assert isinstance(made, Compiled)
    torch.testing.assert_close(made(x, LAYOUT, mask, cond), other(x, LAYOUT, mask, cond), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_low_precision() -> None:
    model, mask, (x, cond) = backbone(torch.float32), get_mask("causal"), inputs(torch.float32)
    lower(model, "bfloat16")
    expected = model(x, LAYOUT, mask, cond)
    actual = compiled(model)(x, LAYOUT, mask, cond)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05)


def test_training_runs_the_plain_modules() -> None:
    model = backbone(torch.float32)
    compile_passes(model, "eager")
    assert prepare(model) is model
    with torch.no_grad():
        assert prepare(model.train()) is model


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler on a CPU")
@torch.no_grad()
def test_the_default_backend() -> None:
    model = generator().float()
    expected = sampled(model, "ar")
    compile_passes(model.backbone)
    assert torch.equal(sampled(model, "ar"), expected)
